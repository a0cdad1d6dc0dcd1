"""What a process may do that gives a foreign file to a framework: read, compute, write into its own folder.

Loaded by ``locked_start.py`` before any framework is imported, also by the interpreter of a tool's
environment: the standard library and this package alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.sandbox.landlock import FileAccess, landlock_abi, make_ruleset, restrict_thread
from edgepose.sandbox.policy import ordinary_policy
from edgepose.sandbox.seccomp import Condition, FilterPolicy, Rule, control, load_filter

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
# Owner, rights and times of a file, which Landlock does not guard, and opening with flags unseen by a filter.
_METADATA = frozenset(
    {
        *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
        *("utime", "utimes", "futimesat", "utimensat", "openat2", "truncate", "creat"),
    }
)
# What changes a folder.
_NAMES = frozenset(
    {
        *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat"),
        *("symlink", "symlinkat", "unlink", "unlinkat"),
    }
)
_OPENING = {"open": 1, "openat": 2}
_SPECIAL_FILES = frozenset({"mknod", "mknodat"})
# The system's libraries and what runtimes ask about the machine; nothing of a user's home.
_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/proc/filesystems"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm"),
)
# This process, where it is locked in without Landlock.
_to_seal: list[int] = []
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class LoaderLimits:
    """How much a loader may use; a lower limit of the process that starts it stays."""

    memory_bytes: int
    file_bytes: int
    cpu_s: int


def lock_loader(
    folder: Path, readable: Iterable[Path], limits: LoaderLimits, *, landlock: bool = True
) -> bool:
    """Locks this process in, before it has a second thread.

    Args:
        folder: Its own; the only one in which it may write.
        readable: What it may read beside Python, the system's libraries and what is on the import path.
        limits: How much it may use.
        landlock: Whether to use it where the kernel has it; without it, for tests.

    Returns:
        Whether Landlock holds. Without it every file of the user can be read, and until
        :func:`seal_writing` written.

    Raises:
        OSError: The kernel cannot enforce the lock; the process must not go on.
    """
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
    ):
        _limit(kind, most)
    libc = ctypes.CDLL(None, use_errno=True)
    # Who started it is gone: so is it.
    control(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    guarded = landlock and landlock_abi() > 0
    if guarded:
        paths = (*map(Path, _SYSTEM), *_of_python(), *readable)
        ruleset = make_ruleset(FileAccess(paths, (folder,), tuple(map(Path, _DEVICES))), scope_signals=True)
        try:
            restrict_thread(ruleset)
        finally:
            os.close(ruleset)
    load_filter(loader_policy(os.getpid(), writing=True, sealing=not guarded))
    if not guarded:
        _to_seal.append(os.getpid())
    return guarded


def seal_writing() -> None:
    """Called when a loader has its own copy of what it reads, before a framework sees it.

    Where the kernel has no Landlock no file can be opened for writing from here on.

    Raises:
        OSError: The kernel refuses.
    """
    if os.getpid() in _to_seal:
        load_filter(loader_policy(os.getpid(), writing=False))
        _to_seal.clear()


def loader_policy(own_pid: int, *, writing: bool, sealing: bool = False) -> FilterPolicy:
    """What it may call: as every locked process, and no owner, right or time of a file changes.

    Args:
        own_pid: Of the process.
        writing: Whether it may open files for writing (Landlock says which) and change names in folders.
        sealing: Whether another filter may follow.
    """
    ordinary = ordinary_policy(own_pid, permitted=frozenset({"seccomp"} if sealing else ()))
    refused = _METADATA | _OPENING.keys() | (frozenset() if writing else _NAMES)
    ruled = {name: rules for name, rules in ordinary.ruled.items() if name not in _SPECIAL_FILES}
    opening = {name: _rules_of_opening(at, writing=writing) for name, at in _OPENING.items()}
    return FilterPolicy(ordinary.allowed - refused, {**ruled, **opening})


def _rules_of_opening(argument: int, *, writing: bool) -> tuple[Rule, ...]:
    if not writing:
        return ((Condition(argument, 0, _ACCESS_MODE | os.O_CREAT | os.O_TRUNC),),)
    # Before its third version Landlock does not see that O_TRUNC empties a file that is opened for reading.
    to_write = tuple((Condition(argument, mode, _ACCESS_MODE),) for mode in (os.O_WRONLY, os.O_RDWR))
    return (*to_write, (Condition(argument, 0, os.O_TRUNC),))


def _limit(kind: int, most: int) -> None:
    soft, hard = resource.getrlimit(kind)
    least = min(value for value in (soft, hard, most) if value != resource.RLIM_INFINITY)
    resource.setrlimit(kind, (least, least))


def _of_python() -> list[Path]:
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *libraries]
    return [
        *(Path(entry).resolve() for entry in found if entry.startswith("/")),
        Path(__file__).resolve().parents[1],
        Path(sys.executable).resolve().parent,
    ]
