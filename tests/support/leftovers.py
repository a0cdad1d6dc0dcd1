"""What a run of the tests leaves behind: processes, mounts, files in the folder for temporary ones."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

# include/uapi/linux/prctl.h: children whose parent has ended become ours, and are seen here.
_PR_SET_CHILD_SUBREAPER = 36
# What has been told to end may need so long on a busy machine.
END_LIMIT_S = 30.0
# They end with this process, and belong to Python itself.
_PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def adopt_orphans() -> None:
    """From now on no descendant gets away by the death of its parent (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> dict[int, str]:
    """Command lines of all running processes below one; the dead that nobody has waited for run no more."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            waiting.append(child)
            with suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                found[child] = b" ".join(words).decode(errors="replace").strip()
    return {child: line for child, line in found.items() if not any(own in line for own in _PYTHONS_OWN)}


def mounts() -> set[str]:
    """Where something is mounted, in this process's namespace (proc_pid_mounts(5))."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    # The kernel's table of program formats is the machine's, not a test's.
    return {line.split()[1] for line in lines if line.split()[2] != "binfmt_misc"}


def ended_but_for(before: dict[int, str]) -> dict[int, str]:
    """Waits until all descendants but some have ended; kills those that do not, and returns them."""
    limit = time.monotonic() + END_LIMIT_S
    while left := {pid: line for pid, line in descendants(os.getpid()).items() if pid not in before}:
        if time.monotonic() > limit:
            break
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left
