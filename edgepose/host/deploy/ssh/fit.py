"""Whether a device is the one that a profile describes: judged before anything is changed there."""

from __future__ import annotations

import re

from edgepose.errors import DeployError
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.device_status import DeviceProbe, DevicePython

# What the kernel and the graphics processor keep for themselves of the memory that is sold.
_VISIBLE_MEMORY = 0.8
# A runtime is about 250 MiB unpacked, with the files that it is unpacked from.
NEEDED_DISK_MIB = 500
_MIN_GLIBC_MINOR = 17
# Each minor version becomes a platform tag.
_GLIBC = re.compile(r"2\.([0-9]{1,3})(?:\.[0-9]{1,4})?")


def check_fits(profile: DeviceProfile, probe: DeviceProbe) -> None:
    """Refuses a device that is not the profile's.

    Raises:
        DeployError: Architecture, system, board, Python, C library, memory or disk do not fit; all that do
            not are named.
    """
    problems = [*_hardware_problems(profile, probe), *_software_problems(profile, probe)]
    if problems:
        raise DeployError(
            f"This device does not fit profile '{profile.id}': {'; '.join(problems)}. Nothing was changed.",
            "See: edgepose profiles list",
        )


def chosen_python(profile: DeviceProfile, probe: DeviceProbe) -> DevicePython | None:
    """The newest Python on the device that the profile allows, or None."""
    return next((python for python in probe.pythons if python.version in profile.hardware.python), None)


def _hardware_problems(profile: DeviceProfile, probe: DeviceProbe) -> list[str]:
    wanted, problems = profile.hardware, []
    if probe.os != wanted.os or probe.arch != wanted.arch:
        problems.append(f"it is {probe.os} on {probe.arch}, expected {wanted.os} on {wanted.arch}")
    boards = wanted.device_tree_models
    if boards and not any((probe.board or "").startswith(board) for board in boards):
        problems.append(f"it is {probe.board or 'an unnamed board'}, expected {' or '.join(boards)}")
    if probe.memory_mib is not None and probe.memory_mib < wanted.memory_mib * _VISIBLE_MEMORY:
        problems.append(f"it has {probe.memory_mib} MiB of memory, expected {wanted.memory_mib}")
    return problems


def _software_problems(profile: DeviceProfile, probe: DeviceProbe) -> list[str]:
    problems = []
    if chosen_python(profile, probe) is None:
        found = ", ".join(python.version for python in probe.pythons) or "none"
        problems.append(f"it has Python {found}, expected {' or '.join(profile.hardware.python)}")
    if not probe.glibc or glibc_minor(probe.glibc) < _MIN_GLIBC_MINOR:
        problems.append(f"its C library is {probe.glibc or 'not glibc'}, expected glibc 2.{_MIN_GLIBC_MINOR}")
    if not probe.libstdcxx:
        problems.append("it has no libstdc++.so.6, which its own package manager brings: libstdc++6")
    if probe.disk_free_mib is not None and probe.disk_free_mib < NEEDED_DISK_MIB and not probe.runtimes:
        problems.append(f"it has {probe.disk_free_mib} MiB free, expected {NEEDED_DISK_MIB}")
    return problems


def glibc_minor(version: str) -> int:
    """36 of ``2.36``; 0 where it is not 2.x, or a number that no glibc will have."""
    found = _GLIBC.fullmatch(version)
    return int(found[1]) if found else 0
