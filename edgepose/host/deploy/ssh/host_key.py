"""First contact: the host key that a device shows must be the one whose fingerprint the user gave."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.errors import TrustError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.ssh.address import SshAddress
from edgepose.host.deploy.ssh.remote_host import option_path, ssh_program
from edgepose.host.deploy.ssh.ssh_failure import ssh_failure
from edgepose.spec.whole_file import write_whole

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
