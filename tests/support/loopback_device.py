"""A device that is this machine: a real sshd on a loopback port, with keys and folders of its own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgepose.host.deploy.ssh.remote_host import SshAddress
from tests.support.waiting import PATIENCE_S, until

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
SetEnv EDGEPOSE_BASE={base}
"""
CLIENT_CONFIG = """
Host device
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
"""


@dataclass
class LoopbackDevice:
    """A running sshd.

    Attributes:
        folder: Its keys and configuration.
        base: Where edgepose is installed on it.
        process: The sshd.
    """

    folder: Path
    base: Path
    process: subprocess.Popen[bytes]
    port: int = 0

    @property
    def config(self) -> Path:
        """Configuration for the client."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """A list of host keys of its own."""
        return self.folder / "known_hosts"

    @property
    def fingerprint(self) -> str:
        """Of the host key, computed here and not by what is tested."""
        blob = base64.b64decode((self.folder / "host_key.pub").read_text().split()[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def address(self, fingerprint: str | None = None) -> SshAddress:
        """How to reach it; the fingerprint is given as on a first contact."""
        return SshAddress("device", fingerprint or self.fingerprint, self.config)

    def cut_connections(self) -> int:
        """Kills what serves the open connections, as a lost link would end them."""
        found = 0
        for entry in Path("/proc").iterdir():
            with suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
                    found += 1
        return found


@contextmanager
def loopback_device(folder: Path, base: Path | None = None) -> Iterator[LoopbackDevice]:
    """Starts a device; skips the test where there is no sshd."""
    if not Path(_SSHD).exists():
        pytest.skip("needs sshd: apt install openssh-server")
    folder.mkdir(parents=True, exist_ok=True)
    make_keys(folder)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    if os.getuid() == 0:
        # Debian's sshd wants its folder for the unprivileged child.
        Path("/run/sshd").mkdir(exist_ok=True)
    port, base = free_port(), base or folder / "device" / "edgepose"
    (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=folder, base=base))
    (folder / "ssh_config").write_text(CLIENT_CONFIG.format(port=port, folder=folder))
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([_SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        wait_for(port)
        yield LoopbackDevice(folder, base, process, port)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def copied_device(folder: Path, prepared: Path) -> Iterator[LoopbackDevice]:
    """A device with what another one has, copied by hard links."""
    base = folder / "used" / "edgepose"
    base.parent.mkdir(parents=True)
    subprocess.run(["cp", "-al", prepared, base], check=True)
    # A lock belongs to its file, not to its name: copies must not share one.
    for lock in (base / "deploy.lock", base / "root" / "lock"):
        lock.unlink(missing_ok=True)
    # State and launcher are replaced, never changed in place, but the launcher names its folder.
    launcher = base / "bin" / "edgepose-device"
    text = launcher.read_text().replace(str(prepared), str(base))
    launcher.unlink()
    launcher.write_text(text)
    launcher.chmod(0o755)
    with loopback_device(folder / "loopback", base) as device:
        yield device


def make_keys(folder: Path) -> None:
    """A host key and a user's key."""
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Waits until somebody listens on a port."""

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    until(listens, f"an sshd on port {port}")
