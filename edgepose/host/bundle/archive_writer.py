"""A bundle's bytes: a function of manifest and contents alone."""

from __future__ import annotations

from collections.abc import Iterator

from edgepose.spec.bundle_manifest import MANIFEST_DIGEST_NAME, MANIFEST_NAME, BundleManifest
from edgepose.spec.records import to_json
from edgepose.trust.bundle_archive import END_OF_ARCHIVE, header_for, padding_bytes
from edgepose.trust.bundle_metadata import BundleMetadata
from edgepose.trust.bundle_reader import digest_file_content


def archive_pieces(
    manifest: BundleManifest, contents: dict[str, bytes], metadata: BundleMetadata | None = None
) -> list[bytes]:
    """The bundle in order: signing metadata, manifest, its digest, the listed files sorted by path, the end.

    Args:
        manifest: The manifest.
        contents: Path to content of every listed file.
        metadata: Who signed it; None for an unsigned bundle.
    """
    manifest_bytes = to_json(manifest, indent=1).encode()
    members = metadata.members() if metadata else []
    members += [(MANIFEST_NAME, manifest_bytes), (MANIFEST_DIGEST_NAME, digest_file_content(manifest_bytes))]
    members += [(file.path, contents[file.path]) for file in manifest.files]
    return [*(piece for name, content in members for piece in _member(name, content)), END_OF_ARCHIVE]


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield header_for(name, len(content))
    yield content
    yield bytes(padding_bytes(len(content)))
