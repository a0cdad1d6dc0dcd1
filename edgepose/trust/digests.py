"""SHA-256 of files, folders and lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_PIECE_BYTES = 1 << 20


def sha256_of_bytes(data: bytes | memoryview) -> str:
    """Hex digest of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file's content.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    for piece in file_pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def file_pieces(path: Path) -> Iterator[bytes]:
    """The content of a file, a mebibyte at a time.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


def sha256_of_path(path: Path) -> str:
    """Hex digest of a file, or of a folder (a SavedModel): names and contents, sorted by name.

    Raises:
        OSError: Something cannot be read.
    """
    if not path.is_dir():
        return sha256_of_file(path)
    members = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256_of_list(f"{p.relative_to(path).as_posix()} {sha256_of_file(p)}" for p in members)


def sha256_of_list(lines: Iterable[str]) -> str:
    """Hex digest of lines, in the order given."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()
