"""Commands on a device through the system's OpenSSH: the user's configuration, agent and jump hosts."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

from edgepose.errors import MissingDependencyError
from edgepose.host.deploy.ssh.address import SshAddress
from edgepose.host.deploy.ssh.ssh_failure import SSH_FAILED, ssh_failure
from edgepose.sandbox.python_child import find_program, run_words, start_words

_CONNECT_TIMEOUT_S = 15
# A silent link counts as lost after 30 s.
_ALIVE_INTERVAL_S = 10
_ALIVE_COUNT = 3


@dataclass(frozen=True)
class Finished:
    """A command that ended.

    Attributes:
        code: Its exit code.
        stdout: What it wrote.
        stderr: What it said.
    """

    code: int
    stdout: bytes
    stderr: str


class RemoteHost(Protocol):
    """A device that runs commands."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def run(self, command: Sequence[str], stdin: Iterable[bytes] = ()) -> Finished:
        """Runs a command there.

        Args:
            command: Program and arguments; no shell sees them unquoted.
            stdin: Pieces of its standard input.

        Raises:
            DeployError: The device cannot be reached, refuses the key, or the link was lost.
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

    def run(self, command: Sequence[str], stdin: Iterable[bytes] = ()) -> Finished:
        """See ``RemoteHost``."""
        call = [self._ssh, *self._options, self._address.host, "--", shlex.join(command)]
        with start_words(
            call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr()
        ) as process:
            try:
                _feed(process, stdin)
                stdout = process.stdout.read() if process.stdout else b""
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        finished = Finished(code, stdout, self._said())
        if finished.code == SSH_FAILED:
            raise ssh_failure(self.name, finished.stderr)
        return finished

    def __enter__(self) -> SshHost:  # noqa: PYI034 (typing.Self is Python 3.11)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the shared connection; closing twice is harmless."""
        with suppress(OSError):
            run_words([self._ssh, *self._options, "-O", "exit", self._address.host])
        self._folder.cleanup()

    def _sharing(self) -> list[str]:
        # One letter, as the folder is this connection's own: a socket's path may have 108 bytes (unix(7)),
        # 104 on macOS, of which ssh takes 17 more.
        control = option_path(Path(self._folder.name) / "c")
        return ["-o", "ControlMaster=auto", "-o", f"ControlPath={control}", "-o", "ControlPersist=60"]

    def _stderr(self) -> int:
        # A file, not a pipe: the shared connection's process keeps it open after the command has ended.
        self._log = Path(self._folder.name) / "stderr"
        self._stream = self._log.open("wb")
        return self._stream.fileno()

    def _said(self) -> str:
        self._stream.close()
        return self._log.read_text(encoding="utf-8", errors="replace")


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


def _feed(process: subprocess.Popen[bytes], pieces: Iterable[bytes]) -> None:
    if process.stdin is None:
        return
    # Whoever stopped reading says why on standard error.
    with suppress(BrokenPipeError):
        for piece in pieces:
            process.stdin.write(piece)
    with suppress(BrokenPipeError):
        process.stdin.close()
