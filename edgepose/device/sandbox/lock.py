"""Locks this process in: no socket, no child, no other process, no file but its own, in every thread.

Whether a run is locked in: live images always, files never: their owner has them anyway.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from edgepose.accelerators import DeviceKind
from edgepose.device.sandbox.descriptors import (
    CAMERA,
    PLAIN,
    AllowedSockets,
    checked_descriptors,
    files_of,
)
from edgepose.errors import DeviceError
from edgepose.records.device_status import SandboxReport
from edgepose.sandbox.landlock import FileAccess, landlock_abi, restrict_process
from edgepose.sandbox.policy import ordinary_policy, reading_only
from edgepose.sandbox.seccomp import control, load_filter

# include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4
MECHANISMS = ("seccomp", "no_new_privs", "no_core_dump", "no_inherited_socket", "known_descriptors")
_WITHOUT_LANDLOCK = (
    "Landlock does not hold here ({why}): other processes of the same user could be looked into through "
    "/proc{writing}, unless the service's unit forbids it."
)
_OF_CONNECTIONS = frozenset({"sendto", "recvfrom", "getsockopt", "setsockopt", "shutdown"})


class LockScope(Enum):
    """How much a process may still do.

    Attributes:
        ALL: Nothing that reaches outside.
        SUPERVISOR: Processes like itself, which are born locked and may lock themselves in further, for which
            they look at what they have open; device files of cameras, which they open; no program, no socket.
        CAMERA: Send and receive on the TCP connections to its camera that are open already.
        DAEMON: The same, and messages, on the Unix sockets to the system's camera service.
    """

    ALL = frozenset[str]()
    SUPERVISOR = frozenset(
        {
            "fork", "clone", "kill", "tgkill", "seccomp", "landlock_create_ruleset", "landlock_add_rule",
            "landlock_restrict_self", "getsockname", "getpeername", "getsockopt",
        }
    )  # fmt: skip
    CAMERA = _OF_CONNECTIONS
    DAEMON = _OF_CONNECTIONS | {"sendmsg", "recvmsg"}


def lock_process(
    kept_sockets: frozenset[int] = frozenset(),
    scope: LockScope = LockScope.ALL,
    writable: Sequence[Path] = (),
) -> SandboxReport:
    """Locks this process with all its threads, for good.

    What stays: reading files, writing to what is open already, cameras (ioctl and mmap), threads, shared
    memory that is open already, the device files of accelerators that are in use, signals to itself and to
    the processes that it has started. ``write`` on a kept socket stays, too: it is how systemd is told that
    the service lives.

    Args:
        kept_sockets: Unix sockets that stay open; any other socket is a way out and refused.
        scope: What more stays.
        writable: Folders in which files may be made, written, renamed and removed; without one, nothing is
            opened for writing any more.

    Returns:
        What was enforced, and what is not guaranteed on this kernel.

    Raises:
        DeviceError: Something is open that is not on the list of what may stay, or the kernel cannot enforce
            the lock. The process may be locked in part; it must not go on with images.
    """
    kinds = refuse_descriptors(kept_sockets, scope)
    # The files of /proc/self then belong to root, and no core is dumped, whatever the system's pattern.
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    supervisor = scope is LockScope.SUPERVISOR
    used = tuple({*kinds, CAMERA} if supervisor else kinds)
    ioctls = tuple(control for kind in used for control in kind.ioctls)
    # An accelerator's library may open its device again.
    reads_only = not writable and not supervisor and not any(kind.ioctls for kind in used)
    children = () if supervisor else _children()
    try:
        control(ctypes.CDLL(None, use_errno=True), _PR_SET_DUMPABLE, 0)
        missing = _restrict_files(tuple(writable), used, supervisor=supervisor)
        policy = ordinary_policy(os.getpid(), permitted=scope.value, signals_to=children, ioctls=ioctls)
        load_filter(reading_only(policy) if reads_only else policy)
    except OSError as problem:
        raise DeviceError(
            f"The kernel does not lock this process in ({problem}), so frames could leave it.",
            "Use a kernel with CONFIG_SECCOMP_FILTER.",
        ) from problem
    _require_locked(landlock=missing is None or reads_only)
    held = (*MECHANISMS, *(("no_file_writes",) if reads_only else ()))
    if missing is None:
        return SandboxReport(enforced=True, mechanisms=(*held, "landlock"))
    writing = "" if reads_only else ", and files be written that it has no business with"
    said = _WITHOUT_LANDLOCK.format(why=missing, writing=writing)
    return SandboxReport(enforced=True, mechanisms=held, not_guaranteed=(said,))


def refuse_descriptors(kept: frozenset[int], scope: LockScope = LockScope.ALL) -> tuple[DeviceKind, ...]:
    """Refuses to go on while something is open that could carry an image out.

    Args:
        kept: Unix sockets that may stay. Standard output may be systemd's journal as well.
        scope: Whether connections to a camera may stay.

    Returns:
        The kinds of device that are open.

    Raises:
        DeviceError: There is one.
    """
    return checked_descriptors(
        AllowedSockets(kept, internet=scope is LockScope.CAMERA, unix=scope is LockScope.DAEMON)
    )


def _restrict_files(
    writable: tuple[Path, ...], kinds: tuple[DeviceKind, ...], *, supervisor: bool
) -> str | None:
    """Landlock; why it does not hold in every thread, or None."""
    if not landlock_abi():
        return "the kernel has none, it is switched off, or it is forbidden to this process"
    # Its children look at themselves, and a camera that is plugged in again has a new file.
    access = FileAccess((Path("/"),), writable, (Path("/dev"),))
    try:
        if not supervisor:
            access = FileAccess(_readable(), writable, files_of((PLAIN, *kinds)))
        restrict_process(access, scope_signals=supervisor)
    except OSError as problem:
        return str(problem)
    return None


def _readable() -> tuple[Path, ...]:
    """Everything but devices, on which reading acts, and other processes: what is read does not get out."""
    top = [entry for entry in Path("/").iterdir() if entry.name not in {"dev", "proc"}]
    # The rule holds for the folder as it is now; while it is open, the kernel makes no other one.
    os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    memory_of_the_kernel = ("kcore", "kmsg", "kpage")
    said = [
        entry
        for entry in Path("/proc").iterdir()
        if not entry.name[:1].isdigit() and not entry.name.startswith(memory_of_the_kernel)
    ]
    return (*top, Path(f"/proc/{os.getpid()}"), *said)


def _children() -> tuple[int, ...]:
    """Processes that this one has started, and may have to end."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # It may have ended; field 4 of proc(5)'s stat is the parent.
            with suppress(OSError):
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(entry.name))
    return tuple(found)


def _require_locked(*, landlock: bool) -> None:
    """The proof is in the trying: a lock that lets a socket or a foreign file pass is none."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as problem:
        if problem.errno != errno.EPERM:
            raise DeviceError(f"The lock is loaded, and a socket fails otherwise: {problem}.") from problem
    else:
        raise DeviceError(
            "The lock is loaded and a socket can still be made, so frames could leave this process."
        )
    if not landlock:
        return
    try:
        os.close(os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return
    raise DeviceError(
        "The lock is loaded and a file outside of it can still be opened for writing, so frames could leave "
        "this process."
    )


def folders_of_outputs(outputs: Iterable[Path | str | None]) -> tuple[Path, ...]:
    """The folders of files that are made or finished after the lock; ``-`` is standard output.

    Args:
        outputs: The files; None is none.
    """
    files = [Path(output) for output in outputs if output is not None and str(output) != "-"]
    return tuple(dict.fromkeys(file.absolute().parent for file in files))


def lock_or_say(
    kept_sockets: frozenset[int],
    say: Callable[[str], None],
    *,
    unlocked: bool,
    writable: tuple[Path, ...] = (),
) -> SandboxReport:
    """Locks this process in, or says that it is not.

    Args:
        kept_sockets: See :func:`edgepose.device.sandbox.lock.lock_process`.
        say: Takes a line for people.
        unlocked: Whether going on unlocked is allowed.
        writable: Folders in which this process still makes files.

    Raises:
        DeviceError: The kernel does not lock it in, and that is not allowed.
    """
    try:
        return lock_process(kept_sockets, writable=writable)
    except DeviceError as problem:
        if not unlocked:
            raise
        say(f"Running without the lock, as --allow-unlocked permits: {problem.message}")
        return SandboxReport(enforced=False, mechanisms=())
