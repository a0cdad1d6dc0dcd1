"""Opens a device: known to ssh, probed, with the folder where edgepose lives there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import DeployError
from edgepose.host.bounded_process import MIB, AnswerLimits
from edgepose.host.deploy.ssh.address import SshAddress
from edgepose.host.deploy.ssh.device_program import DeviceProgram
from edgepose.host.deploy.ssh.device_store import probe_script
from edgepose.host.deploy.ssh.host_key import default_known_hosts, remember_host_key
from edgepose.host.deploy.ssh.remote_host import MUCH, RemoteHost, SshHost
from edgepose.host.deploy.ssh.ssh_failure import command_failure
from edgepose.spec.device_probe import DeviceProbe
from edgepose.spec.records import RecordType, decode_json

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
    done = host.run(["python3", "-I", "-c", probe_script()], limits=_PROBE)
    if done.code != 0:
        raise command_failure(host.name, "python3", done.code, done.stderr)
    # A login script may greet before the answer comes.
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.startswith("{")]
    if not lines:
        raise DeployError(f"{host.name} answered the probe with {done.stdout[:80]!r}, expected JSON.")
    return decode_json(lines[-1].encode(), DeviceProbe, f"The probe of {host.name}", DeployError)
