"""Loads a filter into every thread of this process, for good (seccomp(2))."""

from __future__ import annotations

import ctypes
import os
import platform

from edgepose.sandbox.filter_program import FilterPolicy, filter_program
from edgepose.sandbox.syscalls import ARCHITECTURES

# include/uapi/linux/prctl.h and seccomp.h
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _TSYNC = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter(policy: FilterPolicy) -> None:
    """Loads the policy's filter. It holds in every thread, and in every process and program that follows.

    Args:
        policy: What is allowed.

    Raises:
        OSError: There is no table for this machine, or the kernel cannot enforce it; nothing was loaded.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(f"there is no filter for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    code = b"".join(instruction.packed() for instruction in filter_program(architecture, policy))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    result = libc.syscall(
        ctypes.c_long(architecture.numbers["seccomp"]),
        ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint(_TSYNC),
        ctypes.byref(program),
    )
    if result > 0:
        raise OSError(f"seccomp: thread {result} has a filter of its own")
    if result < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def control(libc: ctypes.CDLL, option: int, value: int) -> None:
    """``prctl(option, value, 0, 0, 0)``.

    Raises:
        OSError: It failed.
    """
    if libc.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")
