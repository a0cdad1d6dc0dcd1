"""System calls that reach outside, made directly; what each would do is harmless or undone at once."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.sandbox.syscalls import ARCHITECTURES

# With these a call is refused; with any other error the kernel has looked at it and would have done it.
_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
_HERE = -100
_NOWHERE = b"/nonexistent-edgepose"
_ALL_KERNEL_LOG, _CLONE_TREE, _NO_DEVICES, _REMOVE, _USER_MODE_ONLY, _REPORT_FID = 3, 1, 4, 0, 1, 0x200
_ASK_PERSONALITY = 0xFFFFFFFF


@dataclass(frozen=True)
class RawCall:
    """One call.

    Attributes:
        name: Of the call.
        arguments: Numbers, bytes and buffers.
        undo: Takes what the call returned.
    """

    name: str
    arguments: tuple[Any, ...]
    undo: Callable[[int], object] = lambda _result: None


def raw_calls(folder: Path) -> dict[str, RawCall]:
    """Each way by name.

    Args:
        folder: Of the checker, where a device file would be made.
    """
    node = os.fsencode(folder / "device")
    no_devices = ctypes.create_string_buffer(_NO_DEVICES.to_bytes(8, "little") + bytes(24), 32)
    text, context = ctypes.create_string_buffer(64), ctypes.create_string_buffer(8)
    queue = b"edgepose-privacy-check"
    return {
        "mount_new": RawCall("fsopen", (b"tmpfs", 0), os.close),
        "mount_tree": RawCall("open_tree", (_HERE, b"/", _CLONE_TREE), os.close),
        "mount_move": RawCall("move_mount", (_HERE, _NOWHERE, _HERE, _NOWHERE, 0)),
        "mount_attributes": RawCall("mount_setattr", (_HERE, _NOWHERE, 0, no_devices, 32)),
        "chroot": RawCall("chroot", (b"/",)),
        "accounting": RawCall("acct", (_NOWHERE + b"/file",)),
        "swap": RawCall("swapon", (_NOWHERE, 0)),
        "kernel_module": RawCall("delete_module", (_NOWHERE, 0)),
        "kernel_log": RawCall("syslog", (_ALL_KERNEL_LOG, text, 64)),
        "kernel_program": RawCall("bpf", (-1, None, 0)),
        "counters": RawCall("perf_event_open", (None, 0, -1, -1, 0)),
        "personality": RawCall("personality", (_ASK_PERSONALITY,)),
        "shared_memory": RawCall(
            "shmget", (0, 4096, 0o600), lambda made: call("shmctl", made, _REMOVE, None)
        ),
        "semaphores": RawCall("semget", (0, 1, 0o600), lambda made: call("semctl", made, 0, _REMOVE)),
        "messages": RawCall("msgget", (0, 0o600), lambda made: call("msgctl", made, _REMOVE, None)),
        "message_queue": RawCall(
            "mq_open", (queue, os.O_CREAT | os.O_RDWR, 0o600, None),
            lambda made: _remove_queue(made, queue),
        ),
        "keyring": RawCall("keyctl", (0, -2, 1)),
        "page_faults": RawCall("userfaultfd", (_USER_MODE_ONLY,), os.close),
        "file_watch": RawCall("fanotify_init", (_REPORT_FID, 0), os.close),
        "file_handle": RawCall("name_to_handle_at", (_HERE, b"/", bytes(8), context, 0)),
        "kernel_aio": RawCall(
            "io_setup", (1, context),
            lambda _made: call("io_destroy", int.from_bytes(context.raw, "little")),
        ),
        "splice": RawCall("vmsplice", (-1, None, 0, 0)),
        "device_file": RawCall(
            "mknodat", (_HERE, node, stat.S_IFCHR | 0o600, os.makedev(1, 7)),
            lambda _made: (folder / "device").unlink(),
        ),
    }  # fmt: skip


def _remove_queue(descriptor: int, name: bytes) -> None:
    os.close(descriptor)
    call("mq_unlink", name)


def let_through(asked: RawCall) -> str:
    """Makes a call and undoes it.

    Raises:
        OSError: It was refused.
    """
    try:
        result = call(asked.name, *asked.arguments)
    except OSError as problem:
        if problem.errno in _REFUSALS:
            raise
        return f"the kernel let {asked.name} through: {problem.strerror}"
    asked.undo(result)
    return f"{asked.name} was done"


def call(name: str | int, *arguments: Any) -> int:
    """``syscall(2)`` with 64 bits for every argument.

    Args:
        name: Of the call, or its number.
        arguments: Its arguments.

    Raises:
        OSError: As the kernel says.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = ARCHITECTURES[platform.machine()].numbers[name] if isinstance(name, str) else name
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
