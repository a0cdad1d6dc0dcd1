"""The wheels that a device gets, locked: one committed file per architecture, Python and runtime.

``requirements/device/aarch64-3.11.txt`` names each wheel of a device with that architecture and Python, its
version and its SHA-256; ``-onnxruntime`` is for profiles that run ONNX Runtime from PyPI. ``make lock``
writes them (``requirements/renew_locks.py``), and no other wheel is ever sent to a device. The lines are
requirements of pip (https://pip.pypa.io/en/stable/reference/requirements-file-format); what stands in front
of each, file name and licence, is ours:

    # ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl; Apache-2.0
    ai-edge-litert==2.3.0 --hash=sha256:853f...
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.accelerators import accelerator
from edgepose.errors import ConfigError, DeployError
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.files import packaged_folder
from edgepose.trust.digests import sha256_of_list

_FOLDER = "requirements/device"
# What PEP 600 says that the older names of platform tags mean.
_LEGACY_GLIBC_MINOR = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_WHEEL_LINE = re.compile(r"# (?P<file>[A-Za-z0-9_.+!-]+\.whl)(?:; (?P<licence>\S.*))?")
_PIN_LINE = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[A-Za-z0-9.+!_-]+)"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})"
)
_MANYLINUX = re.compile(r"manylinux_2_(?P<minor>\d{1,3})_[a-z0-9_]+")


@dataclass(frozen=True)
class LockedWheel:
    """A wheel.

    Attributes:
        name: Its project, as PEP 503 writes it.
        licence: An SPDX expression, the project's own words in quotation marks, or None where it says none.
    """

    name: str
    version: str
    file: str
    sha256: str
    licence: str | None

    @property
    def glibc_minor(self) -> int:
        """The oldest glibc 2.x that its platform tags allow; 0 for a wheel of Python alone."""
        return min(map(_tag_glibc_minor, self.file.removesuffix(".whl").rpartition("-")[2].split(".")))

    @property
    def requirement(self) -> str:
        """The line that pip reads."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class DeviceLock:
    """Everything that one kind of device gets from the package index.

    Attributes:
        name: Of its file, such as ``aarch64-3.11``.
        arch: ``uname -m``.
        python: Version of the device's Python, such as ``3.11``.
        wheels: Sorted by name.
    """

    name: str
    arch: str
    python: str
    wheels: tuple[LockedWheel, ...]

    @property
    def digest(self) -> str:
        """Digest of the wheels' digests: the runtime's name on a device."""
        return sha256_of_list([wheel.sha256 for wheel in self.wheels])

    @property
    def glibc_minor(self) -> int:
        """The oldest glibc 2.x on which all wheels run."""
        return max((wheel.glibc_minor for wheel in self.wheels), default=0)

    def version_of(self, name: str) -> str | None:
        """The version of a project, or None where it is not among the wheels."""
        return next((wheel.version for wheel in self.wheels if wheel.name == name), None)


def lock_name(arch: str, python: str, *, onnxruntime: bool) -> str:
    """The name of a lock, without folder and ending."""
    return f"{arch}-{python}" + ("-onnxruntime" if onnxruntime else "")


def carries_onnxruntime(profile: DeviceProfile) -> bool:
    """Whether a profile's device gets ONNX Runtime from the package index, and not from its board's maker."""
    of_the_board = accelerator(profile.runtime.delegate).of_the_board
    return profile.runtime.name == "onnxruntime" and not of_the_board


def locks_of(profile: DeviceProfile) -> tuple[DeviceLock, ...]:
    """The locks for all Pythons that a profile allows, as far as there are any.

    Raises:
        ConfigError: A lock is damaged, or the installation of edgepose is.
    """
    names = [
        lock_name(profile.hardware.arch, python, onnxruntime=carries_onnxruntime(profile))
        for python in profile.hardware.python
    ]
    paths = [packaged_folder(_FOLDER) / f"{name}.txt" for name in names]
    return tuple(read_lock(path) for path in paths if path.is_file())


def find_lock(profile: DeviceProfile, python: str) -> DeviceLock:
    """The lock for a device of a profile with a version of Python.

    Raises:
        DeployError: There is none.
        ConfigError: It is damaged, or the installation of edgepose is.
    """
    name = lock_name(profile.hardware.arch, python, onnxruntime=carries_onnxruntime(profile))
    path = packaged_folder(_FOLDER) / f"{name}.txt"
    if not path.is_file():
        runtime = " with onnxruntime" if carries_onnxruntime(profile) else ""
        raise DeployError(
            f"No wheels are locked for {profile.hardware.arch}, Python {python}{runtime}, and only locked "
            f"ones are sent; there are locks for {', '.join(locked_targets())}.",
            f"In a checkout of edgepose: make lock TARGET={name}",
        )
    return read_lock(path)


def locked_targets() -> tuple[str, ...]:
    """The names of all locks.

    Raises:
        ConfigError: The installation of edgepose is damaged.
    """
    return tuple(sorted(path.stem for path in packaged_folder(_FOLDER).glob("*.txt")))


def read_lock(path: Path) -> DeviceLock:
    """Reads a lock.

    Raises:
        ConfigError: It cannot be read, or a line is none of a lock.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"Cannot read the lock {path}: {problem}.", "Reinstall edgepose.") from problem
    return parse_lock(path.stem, text)


def parse_lock(name: str, text: str) -> DeviceLock:
    """Reads the text of a lock; its name is the file's, without its ending.

    Raises:
        ConfigError: A line is none of a lock.
    """
    arch, _, rest = name.partition("-")
    lines = [line for line in text.splitlines() if line]
    while lines and lines[0].startswith("#") and not _WHEEL_LINE.fullmatch(lines[0]):
        lines.pop(0)
    wheels = [_wheel(name, *lines[start : start + 2]) for start in range(0, len(lines), 2)]
    names = [wheel.name for wheel in wheels]
    if not names or names != sorted(set(names)):
        raise ConfigError(f"The lock {name} is empty, or not sorted by name with each name once.", _RENEW)
    return DeviceLock(name, arch, rest.partition("-")[0], tuple(wheels))


def format_lock(header: Iterable[str], wheels: Iterable[LockedWheel]) -> str:
    """The text of a lock under lines of comment, the same for the same wheels in any order."""
    lines = [f"# {line}" for line in header]
    for wheel in sorted(wheels, key=lambda one: one.name):
        licence = f"; {wheel.licence}" if wheel.licence else ""
        lines += [f"# {wheel.file}{licence}", wheel.requirement]
    return "\n".join(lines) + "\n"


_RENEW = "Write it anew: make lock"


def _wheel(lock: str, comment: str, pin: str = "") -> LockedWheel:
    about, what = _WHEEL_LINE.fullmatch(comment), _PIN_LINE.fullmatch(pin)
    if about is None or what is None:
        found = comment if about is None else pin
        raise ConfigError(
            f"The lock {lock} has the line {found[:80]!r}, expected a wheel's file name after '# ' and then "
            "NAME==VERSION --hash=sha256:DIGEST.",
            _RENEW,
        )
    words = about["file"].split("-")
    if re.sub(r"[-_.]+", "-", words[0]).lower() != what["name"] or words[1] != what["version"]:
        raise ConfigError(
            f"The lock {lock} names {about['file']} for {what['name']} {what['version']}.", _RENEW
        )
    return LockedWheel(what["name"], what["version"], about["file"], what["sha256"], about["licence"])


def _tag_glibc_minor(tag: str) -> int:
    if tag == "any":
        return 0
    modern = _MANYLINUX.fullmatch(tag)
    if modern:
        return int(modern["minor"])
    minor = _LEGACY_GLIBC_MINOR.get(tag.partition("_")[0])
    if minor is None:
        raise ConfigError(f"A wheel has the platform tag {tag}, expected one for Linux with glibc.", _RENEW)
    return minor
