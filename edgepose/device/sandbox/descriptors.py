"""What a process with images may have open: a list of kinds, and everything else is refused.

Device files of accelerators, and their controls (ioctl), are those of ``edgepose.accelerators``. Letters of
the others are those of ioctl(2)'s ``_IOC`` in videodev2.h, media.h, dma-heap.h, dma-buf.h and drm.h of Linux.
Of all these only the camera's were ever used here.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edgepose.accelerators import DeviceKind, accelerators, device_kinds_of, ioctl_letters
from edgepose.errors import DeviceError

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
    ioctl_letters("V|Hb>"),
)
GRAPHICS = DeviceKind("graphics", ("/dev/dri/*", "/dmabuf:*"), ioctl_letters("db>"))

# Read with this module: a process that gave up its rights before it locks itself in may import nothing more.
accelerators()


def all_device_kinds() -> tuple[DeviceKind, ...]:
    """Every kind that a process with images may have open."""
    return (PLAIN, TERMINAL, CAMERA, GRAPHICS, *device_kinds_of(accelerators().values()))


def kinds_of(path: str, *, standard: bool) -> tuple[DeviceKind, ...]:
    """The kinds that a device file is of; none where it is not allowed.

    Args:
        path: As the kernel names it in /proc/self/fd.
        standard: Whether it is a standard stream.
    """
    return tuple(
        kind
        for kind in all_device_kinds()
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


_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_STANDARD_STREAMS = frozenset({0, 1, 2})
_STANDARD_OUTPUTS = frozenset({1, 2})
# Who else can bind a socket there rules the system anyway (systemd-journald.service(8)).
_JOURNAL = "/run/systemd/journal/stdout"
# What only the process itself is told by: counters, timers, waiting, its own signals, changed files, fences.
_OWN_OBJECTS = frozenset(
    f"anon_inode:{name}"
    for name in ("[eventfd]", "[eventpoll]", "[timerfd]", "[signalfd]", "inotify", "[inotify]", "sync_file")
)
_FILES = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO})
# include/uapi/asm-generic/fcntl.h
_O_PATH = 0o10000000


@dataclass(frozen=True)
class Descriptor:
    """An open descriptor, as far as it has to be judged.

    Attributes:
        number: Its number.
        target: What /proc/self/fd says that it is.
        mode: Of fstat(2).
        flags: Of F_GETFL.
        on_proc: Whether it is of the file system of processes.
        family: Of a socket.
        connected: Whether it is a stream socket with another end.
        peer: The path of that end; empty where it has none.
        hung_up: Whether it is the master of a terminal that no process has open.
    """

    number: int
    target: str
    mode: int
    flags: int
    on_proc: bool = False
    family: int | None = None
    connected: bool = False
    peer: str = ""
    hung_up: bool = False

    @property
    def writable(self) -> bool:
        """Whether it can be written to."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


@dataclass(frozen=True)
class AllowedSockets:
    """Which sockets may stay.

    Attributes:
        kept: Unix sockets by number.
        internet: Whether connections to a camera may stay.
        unix: Whether any Unix socket may stay.
    """

    kept: frozenset[int] = frozenset()
    internet: bool = False
    unix: bool = False


def refusal(descriptor: Descriptor, allowed: AllowedSockets, own_pid: int) -> str | None:
    """What is wrong with a descriptor, None where it may stay. Pure.

    Args:
        descriptor: It.
        allowed: Which sockets may stay.
        own_pid: Of the process.
    """
    if descriptor.family is not None:
        what = None if _socket_may_stay(descriptor, allowed) else "a socket open"
    elif descriptor.flags & _O_PATH:
        what = "a path or a mount open"
    elif descriptor.on_proc:
        what = (
            None if _is_own_fact(descriptor, own_pid) else "a file of the kernel or of another process open"
        )
    elif stat.S_ISREG(descriptor.mode) and descriptor.writable and descriptor.target.startswith("/sys/"):
        what = "a setting of the kernel open"
    elif (
        stat.S_IFMT(descriptor.mode) in _FILES
        or descriptor.target in _OWN_OBJECTS
        or descriptor.hung_up
        or device_kinds(descriptor)
    ):
        what = None
    else:
        what = "something open that is not on the list of what may stay"
    return None if what is None else f"{what} ({_named(descriptor)})"


def device_kinds(descriptor: Descriptor) -> tuple[DeviceKind, ...]:
    """The kinds of device that a descriptor is of."""
    if stat.S_ISBLK(descriptor.mode):
        return ()
    return kinds_of(descriptor.target, standard=descriptor.number in _STANDARD_STREAMS)


def checked_descriptors(allowed: AllowedSockets) -> tuple[DeviceKind, ...]:
    """Refuses to go on while something is open that could carry an image out.

    Args:
        allowed: Which sockets may stay.

    Returns:
        The kinds of device that are open.

    Raises:
        DeviceError: There is one.
    """
    kinds: set[DeviceKind] = set()
    own_pid = os.getpid()
    for descriptor in open_descriptors():
        why = refusal(descriptor, allowed, own_pid)
        if why is not None:
            raise DeviceError(
                f"This process has {why}, by which frames could leave it.",
                "Start it without inherited descriptors; standard streams may be terminals, files or pipes.",
            )
        kinds |= set(device_kinds(descriptor))
    _refuse_rings()
    return tuple(sorted(kinds, key=lambda kind: kind.name))


def open_descriptors() -> list[Descriptor]:
    """All that are open in this process."""
    proc_device = Path("/proc").stat().st_dev
    found = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        # That of the list itself is closed by now.
        with suppress(FileNotFoundError):
            found.append(_looked_at(entry, proc_device))
    return found


def _looked_at(entry: Path, proc_device: int) -> Descriptor:
    number, target = int(entry.name), entry.readlink()
    status = os.fstat(number)
    flags = fcntl.fcntl(number, fcntl.F_GETFL)
    family, connected, peer = None, False, ""
    if stat.S_ISSOCK(status.st_mode) and not flags & _O_PATH:
        with socket.socket(fileno=os.dup(number)) as copy:
            family = int(copy.family)
            connected, peer = _other_end(copy)
    on_proc = status.st_dev == proc_device
    hung_up = target.name == "ptmx" and _is_hung_up(number)
    return Descriptor(number, str(target), status.st_mode, flags, on_proc, family, connected, peer, hung_up)


def _is_hung_up(master: int) -> bool:
    """A process with a master types into its terminal, unless none has that open (pty(7), poll(2))."""
    waiting = select.poll()
    waiting.register(master, 0)
    return any(events & select.POLLHUP for _, events in waiting.poll(0))


def _other_end(connection: socket.socket) -> tuple[bool, str]:
    try:
        peer = connection.getpeername()
    except OSError:
        return False, ""
    return connection.type == socket.SOCK_STREAM, peer if isinstance(peer, str) else ""


def _is_own_fact(descriptor: Descriptor, own_pid: int) -> bool:
    target = descriptor.target
    own = target == f"/proc/{own_pid}" or target.startswith(f"/proc/{own_pid}/")
    of_system = stat.S_ISREG(descriptor.mode) and not target.removeprefix("/proc/")[:1].isdigit()
    return (own or of_system) and not descriptor.writable


def _socket_may_stay(descriptor: Descriptor, allowed: AllowedSockets) -> bool:
    if descriptor.family in _INTERNET:
        return allowed.internet and descriptor.connected
    if descriptor.family != socket.AF_UNIX:
        return False
    journal = descriptor.number in _STANDARD_OUTPUTS and descriptor.peer == _JOURNAL
    return allowed.unix or descriptor.number in allowed.kept or journal


def _named(descriptor: Descriptor) -> str:
    what = descriptor.target
    if descriptor.family is not None:
        with suppress(ValueError):
            what = socket.AddressFamily(descriptor.family).name
    return f"descriptor {descriptor.number}, {what}"


def _refuse_rings() -> None:
    """A ring stays alive without its descriptor: mapped, or by a thread of the kernel's.

    Raises:
        DeviceError: There is one.
    """
    mapped = "anon_inode:[io_uring]" in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            names.append((task / "comm").read_text(encoding="utf-8", errors="replace"))
    # io_uring/sqpoll.c and io-wq.c name their threads so.
    if mapped or any(name.startswith(("iou-sqp", "iou-wrk")) for name in names):
        raise DeviceError(
            "This process has an io_uring ring, by which the kernel itself could send frames.",
            "Start it without a ring.",
        )
