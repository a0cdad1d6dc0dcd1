"""An arm64 machine under QEMU: Debian with systemd, a kernel, a vivid camera, a disk that can be cut off.

TCG emulates every instruction, so no figure of it says anything about a device's speed.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgepose.host.deploy.ssh.remote_host import SshAddress
from tests.support.arm64_device import require_emulation
from tests.support.loopback_device import CLIENT_CONFIG, free_port, make_keys
from tests.support.waiting import until

_SUITE = "bookworm"
_PACKAGES = (
    "systemd,systemd-sysv,udev,openssh-server,python3,libgomp1,libstdc++6,kmod,busybox-static,iproute2,procps"
)
_EARLY_MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "ext4")
_DISK = "2200M"
_BOOT_S = 1200
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do /bin/busybox sleep 0.1; n=$((n+1)); done
/bin/busybox mount -t ext4 /dev/vda /new || exec /bin/busybox sh
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
"""
_NETWORK = "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"


@dataclass(frozen=True)
class Machine:
    """What every virtual machine starts from.

    Attributes:
        folder: Kernel, initramfs, disk and keys.
        kernel: The kernel.
        initramfs: Its first files.
        disk: The disk that is copied for each machine.
    """

    folder: Path
    kernel: Path
    initramfs: Path
    disk: Path


@dataclass
class RunningMachine:
    """A machine that answers on ssh.

    Attributes:
        folder: Its disk, its monitor, its keys.
        disk: The disk it writes to.
        process: QEMU.
        packets: Every packet that left or entered it, as QEMU saw them from outside (pcap).
    """

    folder: Path
    disk: Path
    process: subprocess.Popen[bytes]
    packets: Path

    @property
    def config(self) -> Path:
        """Configuration for ssh."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """A list of host keys of its own."""
        return self.folder / "known_hosts"

    def address(self) -> SshAddress:
        """How to reach it; its host key is in the list."""
        return SshAddress("vm", None, self.config)

    def ssh(self, command: str, *, check: bool = True, timeout_s: float = 300) -> str:
        """Runs a shell command in it."""
        options = ["-F", str(self.config), "-o", f"UserKnownHostsFile={self.known_hosts}"]
        done = subprocess.run(
            ["ssh", *options, "vm", command], capture_output=True, text=True, check=False, timeout=timeout_s
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def snapshot(self, target: Path) -> None:
        """What would be on the disk if the power went now: the machine stands still while it is copied."""
        self._monitor("stop")
        try:
            subprocess.run(["cp", "--sparse=always", self.disk, target], check=True)
        finally:
            self._monitor("cont")

    def _monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.folder / "monitor"))
            stream = monitor.makefile("rw", encoding="utf-8")
            for request in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": request}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass


def build_machine(folder: Path) -> Machine:
    """Builds kernel, initramfs and disk; skips the test where the parts cannot be had."""
    require_emulation()
    if shutil.which("qemu-system-aarch64") is None:
        pytest.skip("needs qemu-system-aarch64: apt install qemu-system-arm")
    folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(folder, folder / "vmlinuz", folder / "initramfs.cpio", folder / "disk.img")
    if machine.disk.exists():
        return machine
    rootfs = folder / "rootfs"
    call = [
        # Whatever it mounts in the new system is gone with it.
        "unshare",
        "--mount",
        "mmdebstrap",
        "--quiet",
        "--skip=check/qemu",
        "--variant=minbase",
        "--arch=arm64",
        f"--include={_PACKAGES}",
        _SUITE,
    ]
    done = subprocess.run([*call, rootfs], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no arm64 system could be had: {done.stderr.strip().splitlines()[-1:]}")
    make_keys(folder)
    version = _unpack_kernel(rootfs)
    _configure(rootfs, folder)
    _make_initramfs(rootfs, folder, version, machine.initramfs)
    shutil.copy(rootfs / "boot" / f"vmlinuz-{version}", machine.kernel)
    subprocess.run(["truncate", "-s", _DISK, machine.disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", rootfs, machine.disk], check=True)
    return machine


@contextmanager
def running(machine: Machine, folder: Path, disk: Path | None = None) -> Iterator[RunningMachine]:
    """Starts a machine on a copy of the disk and waits until ssh answers."""
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "disk.img"
    subprocess.run(["cp", "--sparse=always", disk or machine.disk, own], check=True)
    port, packets = free_port(), folder / "packets.pcap"
    for name in ("user_key", "host_key.pub"):
        shutil.copy(machine.folder / name, folder / name)
    (folder / "ssh_config").write_text(
        CLIENT_CONFIG.format(port=port, folder=folder).replace("Host device", "Host vm").rstrip()
        + "\n  User root\n"
    )
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    call = [
        "qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1536",
        "-nographic", "-kernel", machine.kernel, "-initrd", machine.initramfs,
        "-append", "console=ttyAMA0 net.ifnames=0 systemd.show_status=0 quiet",
        "-drive", f"file={own},format=raw,if=virtio,cache=writeback",
        "-netdev", f"user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-object", f"filter-dump,id=dump,netdev=net,file={packets}",
        "-qmp", f"unix:{folder}/monitor,server=on,wait=off",
    ]  # fmt: skip
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
    vm = RunningMachine(folder, own, process, packets)
    try:
        _wait_until_up(vm)
        yield vm
    finally:
        process.kill()
        process.wait()


def _wait_until_up(vm: RunningMachine) -> None:
    def is_up() -> bool:
        assert vm.process.poll() is None, console()
        with suppress(AssertionError, subprocess.TimeoutExpired):
            vm.ssh("true", timeout_s=60)
            return True
        time.sleep(1)
        return False

    def console() -> str:
        return (vm.folder / "console.log").read_text(errors="replace")[-2000:]

    until(is_up, "an ssh server in the machine", last=console, limit_s=_BOOT_S)


def _unpack_kernel(rootfs: Path) -> str:
    """Unpacks the kernel without its scripts: making an initramfs of Debian would take 15 minutes."""
    script = (
        "apt-get update -qq && cd /tmp && name=$(apt-cache depends linux-image-arm64 | sed -n "
        "'s/.*Depends: //p' | head -1) && apt-get download -qq $name"
    )
    subprocess.run(["chroot", rootfs, "sh", "-c", script], check=True, capture_output=True)
    (rootfs / "usr" / "lib" / "modules").mkdir(exist_ok=True)
    (package,) = (rootfs / "tmp").glob("linux-image-*.deb")
    # Not into the system itself: the package's own /lib would take the place of the link to /usr/lib.
    unpacked = rootfs / "tmp" / "kernel"
    subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
    package.unlink()
    (modules,) = (unpacked / "lib" / "modules").iterdir()
    shutil.move(modules, rootfs / "usr" / "lib" / "modules" / modules.name)
    shutil.copytree(unpacked / "boot", rootfs / "boot", dirs_exist_ok=True)
    shutil.rmtree(unpacked)
    subprocess.run(["depmod", "-b", rootfs, modules.name], check=True)
    return modules.name


def _configure(rootfs: Path, folder: Path) -> None:
    etc = rootfs / "etc"
    (etc / "fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (etc / "hostname").write_text("edgepose-vm\n")
    (etc / "modules-load.d" / "vivid.conf").write_text("vivid\n")
    (etc / "modprobe.d" / "vivid.conf").write_text("options vivid n_devs=1\n")
    (etc / "systemd" / "network" / "10.network").write_text(_NETWORK)
    for service, target in (
        ("systemd-networkd.service", "multi-user.target.wants"),
        ("ssh.service", "multi-user.target.wants"),
    ):
        link = etc / "systemd" / "system" / target / service
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"/lib/systemd/system/{service}")
    shutil.copy(folder / "host_key", etc / "ssh" / "ssh_host_ed25519_key")
    (etc / "ssh" / "ssh_host_ed25519_key").chmod(0o600)
    (etc / "ssh" / "sshd_config").write_text(
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n"
    )
    keys = rootfs / "root" / ".ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(folder / "user_key.pub", keys / "authorized_keys")


def _make_initramfs(rootfs: Path, folder: Path, version: str, target: Path) -> None:
    tree = folder / "initramfs"
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    shutil.copy(rootfs / "bin" / "busybox", tree / "bin" / "busybox")
    order = []
    for name in _EARLY_MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", rootfs, "-S", version, "--show-depends", name],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        for line in shown.splitlines():
            words = line.split()
            if words[:1] == ["insmod"] and Path(words[1]).name not in order:
                shutil.copy(words[1], tree / "modules")
                order.append(Path(words[1]).name)
    (tree / "modules" / "order").write_text("\n".join(order) + "\n")
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    files = "\n".join(path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*")))
    with target.open("wb") as stream:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"], input=files.encode(), stdout=stream, cwd=tree, check=True
        )
    target.chmod(0o644)
