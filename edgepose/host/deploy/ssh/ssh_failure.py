"""What ssh's own messages mean, in one sentence each."""

from __future__ import annotations

from edgepose.errors import DeployError, EdgeposeError, MissingDependencyError, TrustError

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
    """The error for a failure of ssh itself (exit code 255).

    Args:
        host: The device, as the user named it.
        stderr: What ssh said.
    """
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
