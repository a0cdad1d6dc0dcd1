"""Opens a device: known to ssh, probed, with the folder where edgepose lives there.

First contact: the host key that a device shows must be the one whose fingerprint the user gave.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
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
from edgepose.records.device_status import DeviceProbe
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

    Args:
        address: The device, with a fingerprint.
        known_hosts: The list to add to.

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
    """A device that answered.

    Attributes:
        host: Runs commands there.
        probe: What it said about itself.
    """

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
        """Asks the installed program for a record about its root.

        Args:
            words: Its subcommand; ``--root`` is added.
            record: What it reports.
            stdin: Pieces of its standard input.
            limits: What its answer may take.

        Raises:
            EdgeposeError: As ``DeviceProgram.ask_record``.
        """
        return self.installed().ask_record([*words, "--root", self.root], record, stdin, limits)


@contextmanager
def connect(address: SshAddress, known_hosts: Path | None = None) -> Iterator[Connection]:
    """Opens a device and asks what it is; changes nothing there.

    Args:
        address: Which device.
        known_hosts: edgepose's own list of host keys; the user's by default.

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
