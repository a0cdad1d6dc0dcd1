"""Opens a device: known to ssh, probed, with edgepose's folder there, and judged against a profile.

At the first contact the host key that a device shows must be the one whose fingerprint the user gave.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import DeployError, TrustError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.ssh.device_store import DeviceProgram, probe_words
from edgepose.host.deploy.ssh.remote_host import (
    MUCH,
    RemoteHost,
    SshAddress,
    SshHost,
    command_failure,
    option_path,
    ssh_failure,
    ssh_program,
)
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.device_status import DeviceProbe, DevicePython
from edgepose.records.files import write_whole
from edgepose.records.record import RecordType, decode_json

_TIMEOUT_S = 30
_LIMITS = AnswerLimits(bytes=MIB, silence_s=2 * _TIMEOUT_S, total_s=4 * _TIMEOUT_S)


def default_known_hosts() -> Path:
    """Edgepose's own list of host keys, under the XDG configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".config") / "edgepose" / "known_hosts"


def remember_host_key(address: SshAddress, known_hosts: Path) -> None:
    """Writes the device's host key down if it has the fingerprint of the address.

    ssh itself fetches the keys, on the way that it will go later, jump hosts included. It offers no
    credentials on this contact.

    Raises:
        TrustError: The device shows other keys.
        DeployError: It cannot be reached.
        MissingDependencyError: There is no ssh.
    """
    shown = _shown_keys(address)
    if address.fingerprint not in {fingerprint_of(line) for line in shown}:
        found = ", ".join(sorted({fingerprint_of(line) for line in shown}))
        raise TrustError(
            f"{address.host} shows the host key {found}, expected {address.fingerprint}.",
            "Somebody may be in between. On the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    kept = [line for line in shown if fingerprint_of(line) == address.fingerprint]
    known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = known_hosts.read_text(encoding="utf-8").splitlines() if known_hosts.is_file() else []
    lines = [*before, *(line for line in kept if line not in before)]
    write_whole(known_hosts, [("\n".join(lines) + "\n").encode()])


def fingerprint_of(line: str) -> str:
    """The fingerprint of a line of a known_hosts file, as ``ssh-keygen -l`` writes it (RFC 4255 aside, it
    is unpadded base64 of the key blob's SHA-256).
    """  # noqa: D205
    words = line.split()
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (IndexError, binascii.Error):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _shown_keys(address: SshAddress) -> list[str]:
    with TemporaryDirectory(prefix="edgepose-ssh-") as folder:
        found = Path(folder) / "found"
        options = {
            "BatchMode": "yes",
            # Into an empty file of our own; nothing is believed before its fingerprint was compared.
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": option_path(found),
            "GlobalKnownHostsFile": "/dev/null",
            "PreferredAuthentications": "none",
            "HashKnownHosts": "no",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ConnectTimeout": str(_TIMEOUT_S),
            # The kind of key that ssh-keygen shows first; others are compared as well where it is not there.
            "UpdateHostKeys": "no",
        }
        config = [] if address.config is None else ["-F", str(address.config.absolute())]
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        call = [ssh_program(), *config, *words, address.host, "--", "true"]
        done = run_bounded(BoundedCall(call, address.host, _LIMITS))
        if not found.is_file():
            raise ssh_failure(address.host, done.stderr)
        # ssh wrote it, from at most a packet of what the device sent (RFC 4253, 6.1: 35,000 bytes).
        return [line for line in found.read_text(encoding="utf-8").splitlines() if line.strip()]


LAUNCHER = "bin/edgepose-device"
# A line of JSON, behind what login scripts greet with; it tries each Python there.
_PROBE = AnswerLimits(bytes=MIB, silence_s=180.0, total_s=600.0)


@dataclass(frozen=True)
class Connection:
    """A device that answered, with what it said about itself."""

    host: RemoteHost
    probe: DeviceProbe

    @property
    def root(self) -> str:
        """The device root there."""
        return f"{self.probe.base}/root"

    @property
    def program(self) -> DeviceProgram:
        """What is installed there, whichever version."""
        return DeviceProgram(self.host, (f"{self.probe.base}/{LAUNCHER}",))

    def installed(self) -> DeviceProgram:
        """The same, for commands that need something installed.

        Raises:
            DeployError: Nothing was ever deployed there.
        """
        if not self.probe.root_exists:
            raise DeployError(
                f"Nothing is installed on {self.host.name} ({self.root}).",
                "Run: edgepose deploy --profile ID --host USER@HOST",
            )
        return self.program

    def ask(self, command: str, *arguments: str) -> dict[str, Any]:
        """Asks the installed program about its root.

        Raises:
            EdgeposeError: As ``DeviceProgram.ask``.
        """
        return self.installed().ask([command, "--root", self.root, *arguments])

    def ask_record(
        self,
        words: Sequence[str],
        record: type[RecordType],
        stdin: Iterable[bytes] = (),
        limits: AnswerLimits = MUCH,
    ) -> RecordType:
        """Asks the installed program for a record about its root; ``--root`` is added to the words.

        Raises:
            EdgeposeError: As ``DeviceProgram.ask_record``.
        """
        return self.installed().ask_record([*words, "--root", self.root], record, stdin, limits)


@contextmanager
def connect(address: SshAddress, known_hosts: Path | None = None) -> Iterator[Connection]:
    """Opens a device and asks what it is; changes nothing there. By default host keys are in the user's list.

    Raises:
        TrustError: Its host key is unknown, has changed, or has another fingerprint.
        DeployError: It cannot be reached or refuses the key, or its answer cannot be read.
        MissingDependencyError: There is no ssh here, or no Python there.
    """
    known = known_hosts or default_known_hosts()
    if address.fingerprint is not None:
        remember_host_key(address, known)
    with SshHost(address, known) as host:
        yield Connection(host, read_probe(host))


def read_probe(host: RemoteHost) -> DeviceProbe:
    """Asks a device what it is.

    Raises:
        EdgeposeError: As ``connect``.
    """
    done = host.run(["python3", "-I", "-c", *probe_words()], limits=_PROBE)
    if done.code != 0:
        raise command_failure(host.name, "python3", done.code, done.stderr)
    # A login script may greet before the answer comes.
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.startswith("{")]
    if not lines:
        raise DeployError(f"{host.name} answered the probe with {done.stdout[:80]!r}, expected JSON.")
    return decode_json(lines[-1].encode(), DeviceProbe, f"The probe of {host.name}", DeployError)


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
