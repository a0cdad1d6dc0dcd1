"""Bundles put together by hand, rule-breaking ones among them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgepose.trust.bundle_reader import END_OF_ARCHIVE, digest_file_content, header_for, padding_bytes

Member = tuple[str, bytes]


def read_members(path: Path) -> list[Member]:
    """Names and contents, in order, as Python's own tar reader sees them."""
    with tarfile.open(path) as archive:
        return [(entry.name, _content(archive, entry)) for entry in archive]


def write_members(path: Path, members: Iterable[Member], end: bytes = END_OF_ARCHIVE) -> Path:
    """An archive in a bundle's own form."""
    pieces = [header_for(name, len(content)) + padded(content) for name, content in members]
    path.write_bytes(b"".join(pieces) + end)
    return path


def padded(content: bytes) -> bytes:
    """A file's content up to the next block."""
    return content + bytes(padding_bytes(len(content)))


def with_manifest(members: list[Member], text: bytes) -> list[Member]:
    """The members with another manifest and its right digest."""
    return [("manifest.json", text), ("manifest.sha256", digest_file_content(text)), *members[2:]]


def manifest_of(members: list[Member]) -> dict[str, Any]:
    """The manifest as plain data."""
    data: dict[str, Any] = json.loads(members[0][1])
    return data


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> bytes:
    """One USTAR entry as other programs write it."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, len(content), link
    return entry.tobuf(tarfile.USTAR_FORMAT) + padded(content)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry) or io.BytesIO()
    return stream.read()
