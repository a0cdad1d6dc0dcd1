"""An arm64 userland under qemu-user in a folder of this machine, with a real sshd: a device of another kind.

Its figures say nothing about any device's speed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.loopback_device import CLIENT_CONFIG, LoopbackDevice, free_port, make_keys, wait_for
from tests.support.waiting import PATIENCE_S

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_PACKAGES = "python3-minimal,python3,openssh-server,libgomp1,libstdc++6,bash,dash,coreutils"
_SUITE = "bookworm"
_USERS = """root:x:0:0:root:/root:/bin/bash
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
pi:x:1000:1000::/home/pi:/bin/bash
"""
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host_key
UsePAM no
PasswordAuthentication no
StrictModes no
PidFile none
SetEnv EDGEPOSE_BASE=/home/pi/edgepose
"""
# Character devices that sshd and Python open; numbers of the kernel's devices.txt.
_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("random", 1, 8), ("urandom", 1, 9))


def require_emulation() -> None:
    """Skips the test where arm64 programs cannot run here, and says why."""
    if os.getuid() != 0:
        pytest.skip("needs root for a chroot")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("qemu-aarch64-static", "qemu-user-static")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt install {package} binfmt-support")
    if not (_BINFMT / "register").exists():
        subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], capture_output=True, check=False
        )
    if not (_BINFMT / "qemu-aarch64").exists():
        subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], capture_output=True, check=False)
    if not (_BINFMT / "qemu-aarch64").exists():
        pytest.skip("the kernel cannot be told to run arm64 programs (binfmt_misc)")


@contextmanager
def arm64_device(folder: Path) -> Iterator[LoopbackDevice]:
    """Makes the userland, starts its sshd, and takes both away again."""
    require_emulation()
    folder.mkdir(parents=True)
    rootfs = folder / "rootfs"
    _unpack(rootfs)
    make_keys(folder)
    port = free_port()
    _configure(rootfs, folder, port)
    (folder / "ssh_config").write_text(
        CLIENT_CONFIG.format(port=port, folder=folder).rstrip() + "\n  User pi\n"
    )
    subprocess.run(["mount", "-t", "proc", "proc", rootfs / "proc"], check=True)
    try:
        with (folder / "sshd.log").open("wb") as log:
            process = subprocess.Popen(["chroot", rootfs, "/usr/sbin/sshd", "-D", "-e"], stderr=log)
        try:
            wait_for(port)
            yield LoopbackDevice(folder, rootfs / "home" / "pi" / "edgepose", process)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
    finally:
        subprocess.run(["umount", "-l", rootfs / "proc"], check=True)


def _unpack(rootfs: Path) -> None:
    # Whatever it mounts in the new system is gone with it.
    call = ["unshare", "--mount", "mmdebstrap", "--quiet", "--variant=extract", "--arch=arm64"]
    call += [f"--include={_PACKAGES}", _SUITE]
    done = subprocess.run([*call, rootfs], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no arm64 userland could be had: {done.stderr.strip().splitlines()[-1:]}")


def _configure(rootfs: Path, folder: Path, port: int) -> None:
    (rootfs / "etc" / "passwd").write_text(_USERS)
    (rootfs / "etc" / "group").write_text("root:x:0:\npi:x:1000:\nnogroup:x:65534:\n")
    (rootfs / "etc" / "shadow").write_text("root:*:19000:0:99999:7:::\npi:*:19000:0:99999:7:::\n")
    (rootfs / "run" / "sshd").mkdir(parents=True, exist_ok=True)
    if not (rootfs / "bin" / "sh").exists():
        (rootfs / "bin" / "sh").symlink_to("dash")
    for name, major, minor in _DEVICES:
        if not (rootfs / "dev" / name).exists():
            os.mknod(rootfs / "dev" / name, 0o666 | 0o020000, os.makedev(major, minor))
            (rootfs / "dev" / name).chmod(0o666)
    ssh = rootfs / "home" / "pi" / ".ssh"
    ssh.mkdir(parents=True)
    shutil.copy(folder / "user_key.pub", ssh / "authorized_keys")
    shutil.copy(folder / "host_key", rootfs / "etc" / "ssh" / "host_key")
    (rootfs / "etc" / "ssh" / "sshd_config").write_text(_CONFIG.format(port=port))
    for path in (rootfs / "home" / "pi", ssh, ssh / "authorized_keys"):
        os.chown(path, 1000, 1000)
