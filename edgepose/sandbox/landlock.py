"""Landlock: which files this process may open, and that it may not look into other processes (landlock(7)).

A process in a Landlock domain cannot reach a process outside of it by anything that the kernel guards as it
guards ptrace: its memory, descriptors and environment under /proc among them.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# include/uapi/linux/landlock.h and asm-generic/unistd.h: the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
_MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER = 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_NETWORK = 0b11
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
# From which version of the interface (ABI) on the kernel knows what.
_KNOWS_REFER, _KNOWS_TRUNCATE, _KNOWS_NETWORK, _KNOWS_IOCTL, _KNOWS_SCOPES = 2, 3, 4, 5, 6


@dataclass(frozen=True)
class FileAccess:
    """What may be opened; everything else may not, in whatever way.

    Attributes:
        readable: Files, and folders with all in them, that may be read and executed.
        writable: The same, that may be read, written, made, renamed and removed.
        devices: Device files, or folders of them, that may be read, written and controlled.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def landlock_abi() -> int:
    """The version of the kernel's interface; 0 where there is none, or where it is switched off."""
    found = _libc().syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    return max(int(found), 0)


def make_ruleset(access: FileAccess, *, scope_signals: bool = False) -> int:
    """A descriptor of a ruleset for this kernel: files as given, no TCP, no abstract socket of others.

    Args:
        access: What may be opened. What does not exist is left out.
        scope_signals: Whether signals reach only processes that the restricted one starts.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    libc, abi = _libc(), landlock_abi()
    every = _every_right(abi)
    rules = _Ruleset(every, _NETWORK if abi >= _KNOWS_NETWORK else 0, 0)
    if abi >= _KNOWS_SCOPES:
        rules.scoped = _SCOPE_ABSTRACT_SOCKETS | (_SCOPE_SIGNALS if scope_signals else 0)
    size = 24 if abi >= _KNOWS_SCOPES else 16 if abi >= _KNOWS_NETWORK else 8
    ruleset = _checked(
        libc.syscall(
            ctypes.c_long(_CREATE_RULESET), ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint(0)
        )
    )
    reading = _READ_FILE | _READ_DIR | _EXECUTE
    try:
        for paths, rights in (
            (access.readable, reading),
            (access.writable, every & ~(_MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK | _IOCTL_DEV)),
            (access.devices, (_READ_FILE | _WRITE_FILE | _READ_DIR | _IOCTL_DEV | _TRUNCATE) & every),
        ):
            _allow(libc, ruleset, paths, rights)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def restrict_thread(ruleset: int) -> None:
    """Restricts the calling thread, and the threads and processes that it makes from now on, for good.

    Args:
        ruleset: Of :func:`make_ruleset`. The thread must have given up new rights (no_new_privs).

    Raises:
        OSError: The kernel refuses.
    """
    _checked(_libc().syscall(ctypes.c_long(RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint(0)))


def _every_right(abi: int) -> int:
    rights = (_REFER << 1) - 1
    rights = rights if abi >= _KNOWS_REFER else rights & ~_REFER
    rights |= _TRUNCATE if abi >= _KNOWS_TRUNCATE else 0
    return rights | (_IOCTL_DEV if abi >= _KNOWS_IOCTL else 0)


def _allow(libc: ctypes.CDLL, ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                rule = _PathBeneath(rights if folder else rights & _OF_FILES, descriptor)
                _checked(
                    libc.syscall(
                        ctypes.c_long(_ADD_RULE), ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH),
                        ctypes.byref(rule), ctypes.c_uint(0),
                    )
                )  # fmt: skip
            finally:
                os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
    return result
