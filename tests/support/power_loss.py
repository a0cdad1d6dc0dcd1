"""A disk with a cache that a power cut empties: what would be left of a folder at any moment.

Two ends of what POSIX allows, and a device must be whole after both:

* ``lazy``: a name counts once its folder was flushed, and a file's bytes once the file was;
* ``eager``: every name is on the disk at once, and bytes still only once their file was flushed.

It watches the calls of this process by which names and bytes reach a disk; it knows nothing of edgepose.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

End = Literal["lazy", "eager"]
_NAMING = ("rename", "replace", "mkdir", "unlink", "remove", "rmdir", "link")


class CachedDisk:
    """Follows one folder; what is there at the start is on the disk.

    Args:
        top: The folder; it need not exist.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.flushed: list[str] = []
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        # An open descriptor keeps an inode's number from being given to another file.
        self._held: dict[int, int] = {}
        self._flush_path(top.parent)
        for path in [top, *top.rglob("*")] if top.exists() else []:
            self._flush_path(path)
        self.flushed.clear()

    def close(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)

    def flush(self, descriptor: int) -> None:
        """What ``fsync`` does."""
        entry, place = os.fstat(descriptor), f"/proc/self/fd/{descriptor}"
        if stat.S_ISDIR(entry.st_mode):
            self._names[entry.st_ino] = {found.name: found.inode() for found in os.scandir(place)}
        else:
            self._bytes[entry.st_ino] = Path(place).read_bytes()
        if entry.st_ino not in self._held:
            self._held[entry.st_ino] = os.dup(descriptor)
        self.flushed.append(str(Path(place).readlink()))

    def left(self, end: End, target: Path) -> Path:
        """Writes into a new folder what a power cut at this moment leaves; there may be nothing to write."""
        listing = self._listed(self.top.parent, end)
        if self.top.name in listing:
            self._restore(self.top, listing[self.top.name], end, target)
        return target

    def _listed(self, folder: Path, end: End) -> dict[str, int]:
        if end == "lazy":
            return self._names.get(folder.stat().st_ino, {}) if folder.exists() else {}
        return {path.name: path.lstat().st_ino for path in folder.iterdir()}

    def _restore(self, path: Path, inode: int, end: End, target: Path) -> None:
        known = self._names.get(inode, {})
        if end == "eager" and path.is_dir():
            known = self._listed(path, end)
        if inode in self._names or (end == "eager" and path.is_dir()):
            target.mkdir()
            for name, inner in known.items():
                self._restore(path / name, inner, end, target / name)
        elif inode in self._bytes or inode in self._files_now():
            target.write_bytes(self._bytes.get(inode, b""))
        else:
            # A folder whose own names never were flushed: it is there and empty.
            target.mkdir()

    def _files_now(self) -> set[int]:
        paths = self.top.rglob("*") if self.top.exists() else ()
        return {path.lstat().st_ino for path in paths if not path.is_dir()}

    def _flush_path(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self.flush(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def cached_disk(top: Path, cut: Callable[[CachedDisk, str], None]) -> Iterator[CachedDisk]:
    """Watches a folder; ``cut`` is called after each call that flushes or names anything, and at the end."""
    disk = CachedDisk(top)
    fsync, busy = os.fsync, False

    def moment(name: str) -> None:
        nonlocal busy
        if not busy:
            busy = True
            try:
                cut(disk, name)
            finally:
                busy = False

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        if not busy:
            disk.flush(descriptor)
            moment("fsync")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        for name in _NAMING:
            patch.setattr(os, name, _followed(getattr(os, name), lambda name=name: moment(name)))
        try:
            yield disk
            moment("end")
        finally:
            disk.close()


def _followed(call: Callable[..., object], then: Callable[[], None]) -> Callable[..., object]:
    def followed(*args: object, **named: object) -> object:
        result = call(*args, **named)
        then()
        return result

    return followed
