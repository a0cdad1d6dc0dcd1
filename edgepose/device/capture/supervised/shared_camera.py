"""A network camera for a reader in another unit: this side may connect, and has no model and no telemetry."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress, camera_host
from edgepose.device.capture.supervised.messages import CaptureTask
from edgepose.device.capture.supervised.shared_images import MESSAGES, PICTURES, REQUESTS
from edgepose.device.capture.supervised.supervisor import CaptureSupervisor
from edgepose.errors import ConfigError, DeviceError

# Loopback addresses that are no camera's; the second where a camera is played at the first.
_PROBED = ("127.0.0.1", "127.0.0.2")
_ARRIVAL_LIMIT_S = 0.5


def share_camera(address: SourceAddress, folder: Path, *, unfiltered: bool, lock: bool = True) -> None:
    """Serves one reader after the other, for good; while no one reads, the camera is closed.

    Args:
        address: An RTSP camera, by its IP address.
        folder: Where readers meet it; belongs to this user.
        unfiltered: Whether it may go on where other addresses can be reached.
        lock: Whether the capture process locks itself in once the camera is open.

    Raises:
        ConfigError: The address is no RTSP camera with an IP address, or the folder cannot be used.
        DeviceError: Other addresses than the camera's can be reached.
    """
    if address.kind != "rtsp":
        raise ConfigError("Only a network camera needs a unit of its own.", "Give rtsp://ADDRESS/STREAM.")
    host = camera_host(address)
    if not unfiltered:
        require_filtered(host)
    _prepare(folder)
    while True:
        _serve_one(address, folder, lock=lock)


def require_filtered(camera: str) -> None:
    """Refuses to go on where this process can reach another address than the camera's.

    systemd's ``IPAddressDeny=`` is what keeps it from that; where the kernel has no filter for control
    groups, systemd goes on without. So a packet is sent to an address of this machine, and must not arrive.

    Raises:
        DeviceError: The packet arrived.
    """
    target = _PROBED[camera == _PROBED[0]]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((target, 0))
        receiver.settimeout(_ARRIVAL_LIMIT_S)
        with suppress(OSError):
            sender.sendto(b"edgepose", receiver.getsockname())
            receiver.recv(64)
            raise DeviceError(
                f"This process can reach other addresses than the camera's ({target} answered), so frames "
                "could leave this device.",
                "Run it as the unit that edgepose-device units install writes, on a kernel with "
                "CONFIG_CGROUP_BPF; or allow it with --allow-network-camera.",
            )


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in PICTURES:
            (folder / name).unlink(missing_ok=True)
            (folder / name).touch(mode=0o600)
    except OSError as problem:
        raise _unusable(folder, problem) from problem


def _offer(folder: Path) -> None:
    """Makes pipes for the next reader; they are its alone, because their names go once it holds them.

    Pipes that kept their names would let a reader join those of the one before, as long as this process has
    not seen that one leave: it would wait for ever, since slots of images that it never had are never free.
    """
    try:
        _withdraw(folder)
        for name in (MESSAGES, REQUESTS):
            os.mkfifo(folder / name, 0o600)
    except OSError as problem:
        raise _unusable(folder, problem) from problem


def _withdraw(folder: Path) -> None:
    for name in (MESSAGES, REQUESTS):
        (folder / name).unlink(missing_ok=True)


def _unusable(folder: Path, problem: OSError) -> ConfigError:
    return ConfigError(f"Cannot share a camera in {folder}: {problem.strerror}.")


def _serve_one(address: SourceAddress, folder: Path, *, lock: bool) -> None:
    opened: list[int] = []
    _offer(folder)
    try:
        # Waits for a reader, which has opened the other pipe before.
        opened.append(os.open(folder / REQUESTS, os.O_RDONLY | os.O_CLOEXEC))
        opened.append(os.open(folder / MESSAGES, os.O_WRONLY | os.O_CLOEXEC))
        _withdraw(folder)
        opened += [os.open(folder / name, os.O_RDWR | os.O_CLOEXEC) for name in PICTURES]
        task = CaptureTask(
            kind=address.kind,
            location=address.reveal(),
            messages=opened[1],
            requests=opened[0],
            memories=(opened[2], opened[3]),
            lock=lock,
            patient=True,
        )
        # A number that no reader has seen yet: slots of the one before mean nothing to this one.
        CaptureSupervisor(task, life=opened[0], first=int(time.monotonic() * 4) + 1).run()
    finally:
        for descriptor in opened:
            os.close(descriptor)
