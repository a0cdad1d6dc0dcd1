"""Which device files a process with pictures may have, and the controls (ioctl) of each. The one table.

Letters are those of ioctl(2)'s ``_IOC`` in the drivers' public headers: videodev2.h, media.h, dma-heap.h,
dma-buf.h, drm.h and usbdevice_fs.h of Linux; gasket_ioctl.h of the Coral driver; NVIDIA's nv-ioctl-numbers.h
and uvm_linux_ioctl.h; nvgpu*.h, nvhost_ioctl.h and nvmap_ioctl.h of Jetson Linux. Of these only the camera's
were ever used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edgepose.sandbox.policy import IoctlKind


@dataclass(frozen=True)
class DeviceKind:
    """Device files that belong together.

    Attributes:
        name: For people.
        files: Patterns of their paths.
        ioctls: Their controls.
        standard_only: Whether they are allowed as standard streams alone.
    """

    name: str
    files: tuple[str, ...]
    ioctls: tuple[IoctlKind, ...] = ()
    standard_only: bool = False


def _letters(letters: str) -> tuple[IoctlKind, ...]:
    return tuple(IoctlKind(ord(letter)) for letter in letters)


PLAIN = DeviceKind("plain", ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"))
# Not /dev/pts/ptmx: who holds a master types into its terminal.
TERMINAL = DeviceKind(
    "terminal", ("/dev/pts/[0-9]*", "/dev/tty*", "/dev/console", "/dev/hvc*"), standard_only=True
)
# Buffers come from heaps and are synchronized by their own descriptors.
CAMERA = DeviceKind(
    "camera",
    (
        "/dev/video*",
        "/dev/media*",
        "/dev/v4l-subdev*",
        "/dev/dma_heap/*",
        "/dmabuf:*",
    ),
    _letters("V|Hb>"),
)
DEVICE_KINDS = (
    PLAIN,
    TERMINAL,
    CAMERA,
    DeviceKind("graphics", ("/dev/dri/*", "/dmabuf:*"), _letters("db>")),
    DeviceKind("edgetpu_pci", ("/dev/apex_*",), (IoctlKind(0xDC),)),
    DeviceKind("edgetpu_usb", ("/dev/bus/usb/*",), _letters("U")),
    # Its memory manager's numbers have no letter.
    DeviceKind("nvidia", ("/dev/nvidia*",), (*_letters("Fm"), IoctlKind(0, plain=True))),
    DeviceKind(
        "jetson",
        ("/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu/*", "/dev/nvsciipc", "anon_inode:*nv*"),
        _letters("HNGATDCSE"),
    ),
)


def kinds_of(path: str, *, standard: bool) -> tuple[DeviceKind, ...]:
    """The kinds that a device file is of; none where it is not allowed.

    Args:
        path: As the kernel names it in /proc/self/fd.
        standard: Whether it is a standard stream.
    """
    return tuple(
        kind
        for kind in DEVICE_KINDS
        if any(fnmatchcase(path, pattern) for pattern in kind.files)
        and (standard or not kind.standard_only)
        and path != "/dev/ptmx"
    )


def files_of(kinds: tuple[DeviceKind, ...]) -> tuple[Path, ...]:
    """The device files of these kinds that exist, without terminals."""
    patterns = [pattern for kind in kinds if not kind.standard_only for pattern in kind.files]
    return tuple(
        path for pattern in patterns if pattern.startswith("/dev/") for path in Path("/").glob(pattern[1:])
    )
