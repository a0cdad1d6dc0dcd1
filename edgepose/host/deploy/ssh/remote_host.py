"""Commands on a device through the system's OpenSSH: the user's configuration, agent and jump hosts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

from edgepose.errors import ConfigError, DeployError, EdgeposeError, MissingDependencyError, TrustError
from edgepose.host.bounded_process import MIB, Answer, AnswerLimits, BoundedCall, run_bounded
from edgepose.sandbox.python_child import find_program

# A user and a host name, an address or an alias of ssh's configuration. A leading hyphen would be an option.
_FORM = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class SshAddress:
    """How to reach a device.

    Attributes:
        host: ``[user@]host``, or an alias of ssh's configuration.
        fingerprint: Fingerprint of its host key for the first contact, as ``ssh-keygen -l`` writes it, or
            None for a device that ssh knows already.
        config: Configuration that ssh reads instead of the user's, or None.
    """

    host: str
    fingerprint: str | None = None
    config: Path | None = None

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(self.host):
            raise ConfigError(
                f"'{self.host}' is no device address, expected USER@HOST or an alias of ssh's configuration.",
                "A port or a jump host belongs into ~/.ssh/config.",
            )
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise ConfigError(
                f"'{self.fingerprint}' is no fingerprint, expected SHA256: and 43 characters.",
                "On the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            )


# ssh(1): its own failures end with 255, everything else is the remote command's code.
SSH_FAILED = 255
_COMMAND_NOT_FOUND = 127
_CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "host key for", "Offending")
_UNKNOWN = ("Host key verification failed", "host key is known", "No matching host key")
_REFUSED = ("Permission denied", "Too many authentication failures")
_UNREACHABLE = (
    "Could not resolve", "Connection refused", "timed out", "No route to host", "Network is unreachable",
    "Name or service not known",
)  # fmt: skip


def ssh_failure(host: str, stderr: str) -> EdgeposeError:
    """The error for a failure of ssh itself (exit code 255)."""
    last = _last_line(stderr)
    if any(mark in stderr for mark in _CHANGED):
        return TrustError(
            f"{host} shows another host key than the one that is known: {last}",
            "Find out why. If the device was set up anew, remove the old key with ssh-keygen -R and give the "
            "new one with --host-fingerprint.",
        )
    if any(mark in stderr for mark in _UNKNOWN):
        return TrustError(
            f"{host} is not known to ssh: {last}",
            "Give its fingerprint with --host-fingerprint SHA256:...; on the device: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub",
        )
    if any(mark in stderr for mark in _REFUSED):
        return DeployError(
            f"{host} refuses this user's ssh key: {last}", "Try: ssh-copy-id, then ssh to the device once."
        )
    if any(mark in stderr for mark in _UNREACHABLE):
        return DeployError(f"{host} cannot be reached: {last}", "Check its power, network and ssh server.")
    return DeployError(f"The connection to {host} was lost: {last}", "Run the command again; it goes on.")


def command_failure(host: str, command: str, code: int, stderr: str) -> EdgeposeError:
    """The error for a command that the device could not run."""
    if code == _COMMAND_NOT_FOUND:
        return MissingDependencyError(
            f"{host} has no {command}: {_last_line(stderr)}", "Install Python 3.10 or later on the device."
        )
    return DeployError(f"{command} on {host} ended with code {code}: {_last_line(stderr)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("@")]
    said = lines[-1] if lines else "ssh said nothing"
    return said if said.endswith(".") else f"{said}."


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
        """Runs a program with arguments there; no shell sees them unquoted. ``stdin`` comes in pieces.

        Raises:
            DeployError: The device cannot be reached, refuses the key, or the link was lost; or its answer is
                too long or does not come.
            TrustError: Its host key is unknown or has changed.
        """
        ...


class SshHost:
    """A device behind OpenSSH; one connection serves all commands. ``known_hosts`` stands beside the user's.

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
