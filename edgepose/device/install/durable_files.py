"""Files that survive a power cut: flushed to the disk before anything refers to them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgepose.errors import DeployError


def make_folder(path: Path) -> None:
    """Makes a folder with its parents; each new name is flushed to the disk.

    Raises:
        OSError: It cannot be made.
    """
    missing = [path, *path.parents]
    missing = missing[: next(i for i, folder in enumerate(missing) if folder.exists())]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        flush_folder(folder.parent)


def flush_folder(path: Path) -> None:
    """Flushes a folder's names to the disk; without it a rename may be undone by a power cut.

    Raises:
        OSError: It cannot be flushed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_and_forget(stream: BinaryIO) -> None:
    """Flushes a file to the disk and asks the kernel to drop its copy, so that reading it reads the disk.

    Raises:
        OSError: It cannot be flushed.
    """
    stream.flush()
    os.fsync(stream.fileno())
    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remove_tree(path: Path) -> None:
    """Removes a folder, a file or a link; nothing there is fine.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tree_bytes(path: Path) -> int:
    """Size of all files in a folder; 0 where there is none.

    Raises:
        OSError: It cannot be read.
    """
    return sum(entry.lstat().st_size for entry in path.rglob("*") if entry.is_file())


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process, whatever ends it.

    Nobody else may read the file: whoever can open it can hold the lock, and so keep updates out.

    Raises:
        DeployError: Another process holds it.
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise DeployError(
                f"Another installation or rollback is working in {path.parent}.",
                "Wait until it has ended, then try again.",
            ) from problem
        yield
    finally:
        os.close(descriptor)
