"""A bundle's bytes, of manifest and files alone, and the signatures in front of them.

A file is read piece by piece while it is written, so that no bundle is ever whole in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgepose.errors import ConfigError, TrustError
from edgepose.host.keys.ceremony import Sign
from edgepose.host.keys.role_documents import FilesToSign
from edgepose.records.bundle_manifest import (
    MANIFEST_DIGEST_NAME,
    MANIFEST_NAME,
    BundledFile,
    BundleManifest,
    manifest_content,
)
from edgepose.records.files import write_whole
from edgepose.trust.bundle_reader import (
    BLOCK_BYTES,
    END_OF_ARCHIVE,
    digest_file_content,
    header_for,
    padding_bytes,
    read_bundle,
)
from edgepose.trust.digests import file_pieces, sha256_of_bytes
from edgepose.trust.signed_bundle import BundleMetadata, SignedFile

# The bytes of a file, or where they are.
Content = bytes | Path


def archive_pieces(
    manifest: BundleManifest, contents: Mapping[str, Content], metadata: BundleMetadata | None = None
) -> Iterator[bytes]:
    """The bundle in order: signing metadata, manifest, its digest, the listed files sorted by path, the end.

    An unsigned bundle has no metadata.

    Raises:
        ConfigError: A file cannot be read, or is not the one that the manifest lists.
    """
    yield from _members(metadata.members() if metadata else [])
    yield from _members(_manifest_members(manifest))
    for file in manifest.files:
        yield header_for(file.path, file.size_bytes)
        yield from _checked(file, contents[file.path])
        yield bytes(padding_bytes(file.size_bytes))
    yield END_OF_ARCHIVE


def archive_bytes(manifest: BundleManifest) -> int:
    """Size of the unsigned bundle."""
    small = sum(map(len, _members(_manifest_members(manifest))))
    sizes = (file.size_bytes for file in manifest.files)
    return small + sum(BLOCK_BYTES + size + padding_bytes(size) for size in sizes) + len(END_OF_ARCHIVE)


def _manifest_members(manifest: BundleManifest) -> list[tuple[str, bytes]]:
    content = manifest_content(manifest)
    return [(MANIFEST_NAME, content), (MANIFEST_DIGEST_NAME, digest_file_content(content))]


def _members(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for name, content in members:
        yield header_for(name, len(content)) + content + bytes(padding_bytes(len(content)))


def _checked(file: BundledFile, content: Content) -> Iterator[bytes]:
    """The pieces of a file, which may have been changed since the manifest was made."""
    digest, size = hashlib.sha256(), 0
    try:
        for piece in [content] if isinstance(content, bytes) else file_pieces(content):
            digest.update(piece)
            size += len(piece)
            yield piece
    except OSError as problem:
        raise ConfigError(f"Cannot read {content!s}: {problem.strerror}.") from problem
    if (size, digest.hexdigest()) != (file.size_bytes, file.sha256):
        raise ConfigError(f"{content!s} was changed while the bundle was made of it.", "Build it again.")


def files_to_sign(manifest: BundleManifest, content: bytes) -> FilesToSign:
    """Every file of a bundle but the metadata and the manifest's digest, which follows from the manifest."""
    files = {MANIFEST_NAME: SignedFile(len(content), sha256_of_bytes(content))}
    files |= {file.path: SignedFile(file.size_bytes, file.sha256) for file in manifest.files}
    return FilesToSign(files, manifest.bundle_version, manifest.profile.id)


def sign_bundle(bundle: Path, output: Path, sign: Sign) -> Path:
    """Signs a finished bundle, or signs it again after its signatures expired or its keys were rotated.

    Its bytes behind the signatures are taken over as they are. The output may be the bundle itself.

    Raises:
        ConfigError: A file cannot be read or written.
        TrustError: The bundle is damaged, or the keys cannot be unlocked.
    """
    read = read_bundle(bundle)
    metadata = sign(files_to_sign(read.manifest, read.manifest_bytes))
    before = sum(map(len, _members(read.metadata.members()))) if read.metadata else 0

    def pieces() -> Iterator[bytes]:
        yield from _members(metadata.members())
        digest, skip = hashlib.sha256(), before
        for piece in file_pieces(bundle):
            digest.update(piece)
            yield piece[skip:]
            skip = max(0, skip - len(piece))
        if digest.hexdigest() != read.sha256:
            raise TrustError(f"{bundle} was changed while it was signed.", "Sign it again.")

    write_whole(output, pieces())
    return output
