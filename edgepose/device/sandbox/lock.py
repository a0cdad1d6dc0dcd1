"""Locks this process in: no socket, no child, no other process's memory, no core dump, in every thread."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
from contextlib import suppress
from enum import Enum
from pathlib import Path

from edgepose.errors import DeviceError
from edgepose.sandbox.policy import ordinary_policy
from edgepose.sandbox.seccomp import control, load_filter
from edgepose.spec.device_status import SandboxReport

# include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_STANDARD_STREAMS = frozenset({0, 1, 2})
MECHANISMS = ("seccomp", "no_new_privs", "no_core_dump", "no_inherited_socket")


class LockScope(Enum):
    """How much a process may still do.

    Attributes:
        ALL: Nothing of what the filter knows.
        KEEPER: Processes like itself, which are born locked; no program, no socket.
        CAMERA: Send and receive on the TCP connections to its camera that are open already.
        DAEMON: The same, and messages, on the Unix sockets to the system's camera service.
    """

    ALL = frozenset[str]()
    KEEPER = frozenset({"fork", "clone", "seccomp"})
    CAMERA = frozenset({"sendto", "recvfrom", "getsockopt", "setsockopt", "shutdown"})
    DAEMON = frozenset({"sendto", "recvfrom", "sendmsg", "recvmsg", "getsockopt", "setsockopt", "shutdown"})


def lock_process(
    kept_sockets: frozenset[int] = frozenset(), scope: LockScope = LockScope.ALL
) -> SandboxReport:
    """Locks this process with all its threads, for good.

    What stays: files, cameras (ioctl and mmap), threads, shared memory that is open already. ``write`` on a
    kept socket stays, too: it is how systemd is told that the service lives.

    Args:
        kept_sockets: Unix sockets that stay open; any other socket is a way out and refused.
        scope: What more stays.

    Returns:
        What was enforced.

    Raises:
        DeviceError: A socket is open, or the kernel cannot enforce the lock. The process may be locked in
            part; it must not go on with pictures.
    """
    refuse_sockets(kept_sockets, scope)
    # The files of /proc/self then belong to root, and no core is dumped, whatever the system's pattern.
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        control(ctypes.CDLL(None, use_errno=True), _PR_SET_DUMPABLE, 0)
        load_filter(ordinary_policy(os.getpid(), permitted=scope.value | {"ioctl", "kill"}))
    except OSError as problem:
        raise DeviceError(
            f"The kernel does not lock this process in ({problem}), so frames could leave it.",
            "Use a kernel with CONFIG_SECCOMP_FILTER.",
        ) from problem
    _require_locked()
    return SandboxReport(enforced=True, mechanisms=MECHANISMS)


def refuse_sockets(kept: frozenset[int], scope: LockScope = LockScope.ALL) -> None:
    """Refuses to go on while a socket is open that could carry something out.

    Args:
        kept: Unix sockets that may stay. A standard stream may be one as well: systemd's journal is.
        scope: Whether connections to a camera may stay.

    Raises:
        DeviceError: There is one.
    """
    for entry in Path("/proc/self/fd").iterdir():
        descriptor = int(entry.name)
        family, connected = _family(descriptor, entry)
        if family is None:
            continue
        if connected and scope is LockScope.CAMERA and family in _INTERNET:
            continue
        if scope is LockScope.DAEMON and family == socket.AF_UNIX:
            continue
        if family == socket.AF_UNIX and descriptor in kept | _STANDARD_STREAMS:
            continue
        raise DeviceError(
            f"This process has a socket open (descriptor {descriptor}, {socket.AddressFamily(family).name}), "
            "by which frames could leave it.",
            "Start it without inherited sockets.",
        )


def _family(descriptor: int, entry: Path) -> tuple[int | None, bool]:
    """The family of a socket, None for anything else, and whether it is a connected stream."""
    with suppress(OSError):
        if not str(entry.readlink()).startswith("socket:"):
            return None, False
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            stream = copy.type == socket.SOCK_STREAM
            return int(copy.family), stream and _has_peer(copy)
    return None, False


def _has_peer(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _require_locked() -> None:
    """The proof is in the trying: a filter that lets a socket pass is none."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as problem:
        if problem.errno == errno.EPERM:
            return
    raise DeviceError(
        "The lock is loaded and a socket can still be made, so frames could leave this process."
    )
