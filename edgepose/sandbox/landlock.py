"""Landlock: which files this process may open, and that it may not look into other processes (landlock(7)).

A process in a Landlock domain cannot reach a process outside of it by anything that the kernel guards as it
guards ptrace: its memory, descriptors and environment under /proc among them.

The kernel restricts the calling thread alone. Each of the others is interrupted by a signal whose handler
makes two system calls, ``prctl`` for no new rights and ``landlock_restrict_self``, and returns: C libraries
change the user of all threads in the same way (nptl(7)). A handler in Python would need the interpreter's
lock, which the interrupted thread may hold, so it is twenty instructions of the machine, mapped from memory
that is never writable and executable at once.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgepose.sandbox.seccomp import control
from edgepose.sandbox.syscalls import ARCHITECTURES

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


# glibc's own signal for the same purpose: pthread_sigmask never blocks it, so no library's thread does.
_SIGNAL = 33
_NO_NEW_PRIVS = 38
# include/uapi/asm-generic/signal-defs.h; x86's signal.h for the one that it needs.
_SA_RESTART, _SA_ONSTACK, _SA_RESTORER = 0x10000000, 0x08000000, 0x04000000
_PROT_READ, _PROT_EXEC, _MAP_PRIVATE = 1, 4, 2
_LIMIT_S = 5.0
_LOOK_EVERY_S = 0.001


class _Action(ctypes.Structure):
    """``struct sigaction`` as the kernel takes it, on both architectures."""

    _fields_ = (
        ("handler", ctypes.c_void_p), ("flags", ctypes.c_ulong), ("restorer", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),
    )  # fmt: skip


class _Said(ctypes.Structure):
    """What the handlers leave behind: an error's number, and how many have run."""

    _fields_ = (("failed", ctypes.c_int32), ("ran", ctypes.c_int32))


# A handler that comes late still writes here.
_KEPT: list[_Said] = []


def restrict_process(access: FileAccess, *, scope_signals: bool = False) -> None:
    """Restricts every thread of this process, and all that it makes from now on, for good.

    Args:
        access: What may be opened.
        scope_signals: See :func:`edgepose.sandbox.landlock.make_ruleset`.

    Raises:
        OSError: The kernel has no Landlock, or not every thread could be restricted; some may be.
    """
    ruleset = make_ruleset(access, scope_signals=scope_signals)
    try:
        control(ctypes.CDLL(None, use_errno=True), _NO_NEW_PRIVS, 1)
        restrict_other_threads(ruleset)
        # Last: a restricted thread cannot signal the others on every kernel.
        restrict_thread(ruleset)
    finally:
        os.close(ruleset)


def restrict_other_threads(ruleset: int) -> None:
    """Restricts every thread of this process but the calling one, for good.

    A thread that is made meanwhile is found, too. The caller restricts itself afterwards.

    Raises:
        OSError: Not every thread could be restricted; some may be.
    """
    done = {threading.get_native_id()}
    if _threads() <= done:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    said = _Said()
    _KEPT.append(said)
    code, restorer = _handler(platform.machine(), ruleset, ctypes.addressof(said))
    at = _mapped(libc, code)
    flags = _SA_RESTART | _SA_ONSTACK | (_SA_RESTORER if restorer else 0)
    before = _action(libc, _Action(at, flags, at + restorer if restorer else None, 0))
    signalled: set[int] = set()
    limit = time.monotonic() + _LIMIT_S
    # A thread whose maker was not restricted yet is seen in the next round.
    while left := _threads() - done:
        signalled |= {thread for thread in left if _interrupt(thread)}
        _wait(said, signalled, limit)
        done |= left
    _action(libc, before)
    if said.failed:
        raise OSError(-said.failed, f"landlock in another thread: {os.strerror(-said.failed)}")


def _threads() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/task").iterdir()}


def _interrupt(thread: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = ARCHITECTURES[platform.machine()].numbers
    result = libc.syscall(ctypes.c_long(numbers["tgkill"]), os.getpid(), thread, _SIGNAL)
    return bool(result == 0)


def _wait(said: _Said, signalled: set[int], limit: float) -> None:
    while True:
        waiting = {thread for thread in signalled if _has_not_run(thread)}
        gone = len(signalled - _threads())
        if not waiting and said.ran >= len(signalled) - gone:
            return
        if time.monotonic() > limit:
            # The handler stays: a thread that wakes up later is restricted then.
            raise OSError(f"landlock: thread {min(waiting, default=0)} does not answer a signal")
        time.sleep(_LOOK_EVERY_S)


def _has_not_run(thread: int) -> bool:
    """Whether its signal is waiting, or its handler running (proc(5): SigPnd, SigBlk)."""
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/self/task/{thread}/status").read_text(encoding="ascii", errors="replace")
        fields = dict(line.partition(":\t")[::2] for line in lines.splitlines())
        masks = int(fields["SigPnd"], 16) | int(fields["SigBlk"], 16)
        return bool(masks >> (_SIGNAL - 1) & 1)
    return False


def _action(libc: ctypes.CDLL, action: _Action) -> _Action:
    before = _Action()
    number = ARCHITECTURES[platform.machine()].numbers["rt_sigaction"]
    size = ctypes.c_size_t(8)
    if libc.syscall(ctypes.c_long(number), _SIGNAL, ctypes.byref(action), ctypes.byref(before), size):
        raise OSError(ctypes.get_errno(), f"rt_sigaction: {os.strerror(ctypes.get_errno())}")
    return before


def _mapped(libc: ctypes.CDLL, code: bytes) -> int:
    """Code in memory, for good: a thread may be about to run it."""
    descriptor = os.memfd_create("edgepose-lock", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, code)
        libc.mmap.restype = ctypes.c_void_p
        at = libc.mmap(
            None,
            ctypes.c_size_t(len(code)),
            _PROT_READ | _PROT_EXEC,
            _MAP_PRIVATE,
            descriptor,
            ctypes.c_long(0),
        )
    finally:
        os.close(descriptor)
    if at is None or at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mmap: {os.strerror(ctypes.get_errno())}")
    return int(at)


def _handler(machine: str, ruleset: int, said: int) -> tuple[bytes, int]:
    """The handler's code, and where in it the return from a signal begins (0: the kernel has its own)."""
    return _x86_64(ruleset, said) if machine == "x86_64" else (_aarch64(ruleset, said), 0)


def _x86_64(ruleset: int, said: int) -> tuple[bytes, int]:
    code = (
        b"\xb8" + struct.pack("<I", ARCHITECTURES["x86_64"].numbers["prctl"])  # mov eax, prctl
        + b"\xbf" + struct.pack("<I", _NO_NEW_PRIVS)  # mov edi, PR_SET_NO_NEW_PRIVS
        + b"\xbe\x01\0\0\0\x31\xd2\x45\x31\xd2\x45\x31\xc0"  # mov esi, 1; xor edx, edx; r10d; r8d
        + b"\x0f\x05"  # syscall
        + b"\xb8" + struct.pack("<I", RESTRICT_SELF)  # mov eax, landlock_restrict_self
        + b"\xbf" + struct.pack("<I", ruleset)  # mov edi, ruleset
        + b"\x31\xf6\x0f\x05"  # xor esi, esi; syscall
        + b"\x48\xba" + struct.pack("<Q", said)  # mov rdx, said
        + b"\x85\xc0\x74\x02\x89\x02"  # test eax, eax; jz +2; mov [rdx], eax
        + b"\xf0\xff\x42\x04\xc3"  # lock inc dword [rdx + 4]; ret
    )  # fmt: skip
    # mov eax, rt_sigreturn; syscall
    return code + b"\xb8\x0f\0\0\0\x0f\x05", len(code)


def _aarch64(ruleset: int, said: int) -> bytes:
    def move(register: int, value: int, place: int = 0) -> int:
        """``movz`` for the lowest 16 bits, ``movk`` for the others."""
        return (0xF2800000 if place else 0xD2800000) | place << 21 | (value & 0xFFFF) << 5 | register

    call = 0xD4000001
    words = [
        move(8, ARCHITECTURES["aarch64"].numbers["prctl"]), move(0, _NO_NEW_PRIVS), move(1, 1), move(2, 0),
        move(3, 0), move(4, 0), call,
        move(8, RESTRICT_SELF), move(0, ruleset), move(1, 0), call,
        *(move(2, said >> 16 * place, place) for place in range(4)),
        0x34000040,  # cbz w0, two further
        0xB9000040,  # str w0, [x2]
        0x91001042,  # add x2, x2, #4
        0x885F7C43,  # ldxr w3, [x2]
        0x11000463,  # add w3, w3, #1
        0x88047C43,  # stxr w4, w3, [x2]
        0x35FFFFA4,  # cbnz w4, three back
        0xD65F03C0,  # ret
    ]  # fmt: skip
    return struct.pack(f"<{len(words)}I", *words)
