"""Commands on a device through the system's OpenSSH: the user's configuration, agent and jump hosts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

from edgepose.errors import DeployError, MissingDependencyError
from edgepose.host.bounded_process import MIB, Answer, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.ssh.address import SshAddress
from edgepose.host.deploy.ssh.ssh_failure import SSH_FAILED, ssh_failure
from edgepose.sandbox.python_child import find_program

_CONNECT_TIMEOUT_S = 15
# A silent link counts as lost after 30 s.
_ALIVE_INTERVAL_S = 10
_ALIVE_COUNT = 3
# A question to a device: slow boards import for ten seconds.
USUAL = AnswerLimits(bytes=MIB, silence_s=180.0, total_s=600.0)
# The same where the answer may be 10,000 lines of a journal.
MUCH = AnswerLimits(bytes=8 * MIB, silence_s=180.0, total_s=600.0)
# What installs, measures or switches over there says nothing for as long as it takes: an engine is built in
# up to 15 minutes (service_unit.py), and a slow card is written for several.
LONG = AnswerLimits(bytes=MIB, silence_s=1800.0, total_s=7200.0)
_CLOSING = AnswerLimits(bytes=MIB, silence_s=10.0, total_s=10.0)


class RemoteHost(Protocol):
    """A device that runs commands."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def run(
        self, command: Sequence[str], stdin: Iterable[bytes] = (), limits: AnswerLimits = USUAL
    ) -> Answer:
        """Runs a command there.

        Args:
            command: Program and arguments; no shell sees them unquoted.
            stdin: Pieces of its standard input.
            limits: What its answer may take.

        Raises:
            DeployError: The device cannot be reached, refuses the key, or the link was lost; or its answer is
                too long or does not come.
            TrustError: Its host key is unknown or has changed.
        """
        ...


class SshHost:
    """A device behind OpenSSH; one connection serves all commands.

    Args:
        address: Which device.
        known_hosts: edgepose's own list of host keys, beside the user's.

    Raises:
        MissingDependencyError: There is no ssh.
    """

    def __init__(self, address: SshAddress, known_hosts: Path) -> None:
        self._ssh = ssh_program()
        self._address = address
        self._folder = TemporaryDirectory(prefix="edgepose-ssh-")
        self._options = [*ssh_options(address, known_hosts), *self._sharing()]

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._address.host

    def run(
        self, command: Sequence[str], stdin: Iterable[bytes] = (), limits: AnswerLimits = USUAL
    ) -> Answer:
        """See ``RemoteHost``."""
        call = [self._ssh, *self._options, self._address.host, "--", shlex.join(command)]
        answer = run_bounded(BoundedCall(call, self.name, limits, stdin))
        if answer.code == SSH_FAILED:
            raise ssh_failure(self.name, answer.stderr)
        return answer

    def __enter__(self) -> SshHost:  # noqa: PYI034 (typing.Self is Python 3.11)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the shared connection; closing twice is harmless."""
        call = [self._ssh, *self._options, "-O", "exit", self._address.host]
        # Nothing depends on its answer: a connection that stays ends by itself.
        with suppress(OSError, DeployError):
            run_bounded(BoundedCall(call, self.name, _CLOSING))
        self._folder.cleanup()

    def _sharing(self) -> list[str]:
        # One letter, as the folder is this connection's own: a socket's path may have 108 bytes (unix(7)),
        # 104 on macOS, of which ssh takes 17 more.
        control = option_path(Path(self._folder.name) / "c")
        return ["-o", "ControlMaster=auto", "-o", f"ControlPath={control}", "-o", "ControlPersist=60"]


def ssh_program() -> str:
    """Where ssh is.

    Raises:
        MissingDependencyError: There is none.
    """
    found = find_program("ssh")
    if found is None:
        raise MissingDependencyError("There is no ssh here.", "Install it: apt install openssh-client")
    return found


def ssh_options(address: SshAddress, known_hosts: Path) -> list[str]:
    """Options of every call: ask nothing, believe no unknown host, notice a dead link."""
    users = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"{users} {option_path(known_hosts.absolute())}",
        "ConnectTimeout": str(_CONNECT_TIMEOUT_S),
        "ServerAliveInterval": str(_ALIVE_INTERVAL_S),
        "ServerAliveCountMax": str(_ALIVE_COUNT),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return words if address.config is None else ["-F", str(address.config.absolute()), *words]


def option_path(path: Path) -> str:
    """A path as a value of an option: spaces would part it, and % begins a token (ssh_config(5))."""
    return '"' + str(path).replace("%", "%%") + '"'
