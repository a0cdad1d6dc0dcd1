"""What an ordinary locked process may call: its own files, memory and threads; no other process's. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from edgepose.sandbox.seccomp import Condition, FilterPolicy, Rule
from edgepose.sandbox.syscalls import ORDINARY_CALLS

_ALL_BITS = 0xFFFFFFFFFFFFFFFF
# include/uapi/linux/sched.h: a thread, and no namespace of its own (NEWTIME, NEWNS, NEWCGROUP to NEWNET).
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080
# include/uapi/linux/stat.h: what mknod makes; devices and sockets are not in the list.
_FILE_KIND, _REGULAR_FILE, _NAMED_PIPE = 0o170000, 0o100000, 0o010000
# include/uapi/asm-generic/fcntl.h and linux/fcntl.h: duplicates, flags, locks of records and of open files,
# sizes of pipes, seals. Not who gets a signal, nor leases and watches.
_FILE_CONTROLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
# include/uapi/linux/prctl.h: everything that asks; names, timers, the end with the parent, no new rights,
# huge pages, names of memory, and how the vector registers and pointer signatures of aarch64 are used.
_PROCESS_CONTROLS = (
    1, 2, 3, 15, 16, 21, 23, 27, 29, 30, 34, 38, 39, 41, 42, 50, 51, 52, 54, 55, 56, 60, 61, 63, 64,
    0x53564D41, 0x41555856,
)  # fmt: skip
_SET_DUMPABLE = 4
# include/uapi/asm-generic/ioctls.h: TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, and
# TCGETS2 (_IOR('T', 0x2A, struct termios2)). Nothing that puts characters into a terminal.
TERMINAL_QUESTIONS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)

# What changes files by their names.
_CHANGES_FILES = frozenset(
    {
        "truncate", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "creat", "link", "linkat",
        "symlink", "symlinkat", "unlink", "unlinkat", "chmod", "fchmodat", "fchmodat2", "chown", "lchown",
        "fchownat", "utime", "utimes", "futimesat", "utimensat",
    }
)  # fmt: skip


@dataclass(frozen=True)
class IoctlKind:
    """Device controls of one kind: those with this letter in their number (ioctl(2), _IOC).

    Attributes:
        letter: The number's second byte.
        plain: Whether numbers that carry neither a size nor a direction are meant as well.
    """

    letter: int
    plain: bool = False

    def conditions(self) -> tuple[Rule, ...]:
        """One rule for each direction."""
        directions = (0x40000000, 0x80000000, 0xC0000000, *((0,) if self.plain else ()))
        value = self.letter << 8
        return tuple((Condition(1, direction | value, 0xC000FF00),) for direction in directions)


def ordinary_policy(
    own_pid: int,
    *,
    permitted: frozenset[str] = frozenset(),
    signals_to: tuple[int, ...] = (),
    ioctls: tuple[IoctlKind, ...] = (),
) -> FilterPolicy:
    """Reads, computes, writes, makes threads. No socket, no process, no program, no device control.

    Args:
        own_pid: Of the process, to which it may send signals.
        permitted: Calls that are allowed beside that, whatever their arguments are.
        signals_to: Other processes that it may send signals.
        ioctls: Device controls that are allowed beside questions about terminals.
    """
    signalled = tuple((Condition(0, pid),) for pid in (own_pid, *signals_to))
    controls = tuple((Condition(1, number),) for number in TERMINAL_QUESTIONS)
    options = tuple((Condition(0, option),) for option in _PROCESS_CONTROLS)
    kinds = (0, _REGULAR_FILE, _NAMED_PIPE)
    ruled: dict[str, tuple[Rule, ...]] = {
        "clone": ((Condition(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_NEW),),),
        "fcntl": tuple((Condition(1, command),) for command in _FILE_CONTROLS),
        "ioctl": (*controls, *(rule for kind in ioctls for rule in kind.conditions())),
        "kill": signalled,
        "tgkill": ((Condition(0, own_pid),),),
        "rt_sigqueueinfo": ((Condition(0, own_pid),),),
        "rt_tgsigqueueinfo": ((Condition(0, own_pid),),),
        "mknod": tuple((Condition(1, kind, _FILE_KIND),) for kind in kinds),
        "mknodat": tuple((Condition(2, kind, _FILE_KIND),) for kind in kinds),
        "prctl": (*options, (Condition(0, _SET_DUMPABLE), Condition(1, 0, _ALL_BITS))),
        # Limits are read, not changed: a core limit of nought stays nought.
        "prlimit64": ((Condition(2, 0, _ALL_BITS),),),
    }
    return FilterPolicy(frozenset(ORDINARY_CALLS) | permitted, ruled)


def reading_only(policy: FilterPolicy) -> FilterPolicy:
    """The same, and no file is opened for writing, made, renamed or removed any more.

    Args:
        policy: What is allowed otherwise. ``openat2``, whose flags a filter cannot see, goes as well.
    """
    flags = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    ruled = dict(policy.ruled)
    ruled["open"] = ((Condition(1, os.O_RDONLY, flags),),)
    ruled["openat"] = ((Condition(2, os.O_RDONLY, flags),),)
    for name in ("mknod", "mknodat"):
        ruled.pop(name, None)
    return replace(
        policy, allowed=policy.allowed - _CHANGES_FILES - {"open", "openat", "openat2"}, ruled=ruled
    )
