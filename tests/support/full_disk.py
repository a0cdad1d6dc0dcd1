"""Disks that are full: a limit on the size of files, and file systems that are small.

What a test mounts must not outlive it, also where the run is killed: :func:`keep_mounts_private`, called once
at the start of a run, puts the run into a mount namespace of its own (mount_namespaces(7)), and the system
takes away whatever is mounted there together with its last process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# include/uapi/linux/sched.h and include/uapi/linux/mount.h; Python offers them from 3.12 on, or not at all.
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18


def keep_mounts_private() -> None:
    """What this process and its children mount from now on, they alone see; without root nothing is mounted.

    Raises:
        OSError: Root may not have that here.
    """
    if os.geteuid() != 0:
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNS) or library.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "a mount namespace for the tests")


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """The system refuses larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of a given size in place of a folder; skips the test where it may not be mounted."""
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
