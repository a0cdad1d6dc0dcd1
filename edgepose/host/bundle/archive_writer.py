"""Writes a bundle's bytes: a function of manifest and contents alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.spec.bundle_manifest import MANIFEST_DIGEST_NAME, MANIFEST_NAME, BundleManifest
from edgepose.spec.records import to_json
from edgepose.trust.bundle_archive import END_OF_ARCHIVE, header_for, padding_bytes
from edgepose.trust.bundle_reader import digest_file_content


def archive_pieces(manifest: BundleManifest, contents: dict[str, bytes]) -> list[bytes]:
    """The bundle in order: manifest, its digest, the listed files sorted by path, the end.

    Args:
        manifest: The manifest.
        contents: Path to content of every listed file.
    """
    manifest_bytes = to_json(manifest, indent=1).encode()
    members = [(MANIFEST_NAME, manifest_bytes), (MANIFEST_DIGEST_NAME, digest_file_content(manifest_bytes))]
    members += [(file.path, contents[file.path]) for file in manifest.files]
    return [*(piece for name, content in members for piece in _member(name, content)), END_OF_ARCHIVE]


def write_whole(path: Path, pieces: list[bytes]) -> None:
    """Writes a file whole or not at all: beside the target, flushed to the disk, then renamed.

    Raises:
        ConfigError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"Cannot write the bundle {path}: {problem.strerror}.") from problem


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield header_for(name, len(content))
    yield content
    yield bytes(padding_bytes(len(content)))
