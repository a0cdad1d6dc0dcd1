"""Puts signatures in front of a bundle's files.

A bundle's bytes: a function of manifest and contents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from edgepose.errors import MissingDependencyError, TrustError
from edgepose.host.keys.key_home import KeyHome
from edgepose.host.keys.role_documents import DEFAULT_VALID_DAYS, FilesToSign
from edgepose.records.bundle_manifest import MANIFEST_DIGEST_NAME, MANIFEST_NAME, BundleManifest
from edgepose.records.files import write_whole
from edgepose.records.record import to_json
from edgepose.trust.bundle_reader import (
    END_OF_ARCHIVE,
    digest_file_content,
    header_for,
    padding_bytes,
    read_bundle,
)
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.signed_bundle import BundleMetadata, SignedFile


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


Sign = Callable[[FilesToSign], BundleMetadata]


def files_to_sign(manifest: BundleManifest) -> FilesToSign:
    """Every file of a bundle but the metadata and the manifest's digest, which follows from the manifest."""
    content = to_json(manifest, indent=1).encode()
    files = {MANIFEST_NAME: SignedFile(len(content), sha256_of_bytes(content))}
    files |= {file.path: SignedFile(file.size_bytes, file.sha256) for file in manifest.files}
    return FilesToSign(files, manifest.bundle_version, manifest.profile.id)


def sign_bundle(bundle: Path, output: Path, sign: Sign) -> Path:
    """Signs a finished bundle, or signs it again after its signatures expired or its keys were rotated.

    Args:
        bundle: The bundle; its files are taken over unchanged.
        output: File to write; it may be the same.
        sign: Signs the files.

    Raises:
        ConfigError: A file cannot be read or written.
        TrustError: The bundle is damaged, or the keys cannot be unlocked.
    """
    contents: dict[str, bytearray] = {}

    def keep(path: str, piece: bytes) -> None:
        contents.setdefault(path, bytearray()).extend(piece)

    read = read_bundle(bundle, keep)
    asked = files_to_sign(read.manifest)
    if to_json(read.manifest, indent=1).encode() != read.manifest_bytes:
        raise TrustError(
            f"{bundle} has a manifest that this version of edgepose would write otherwise.",
            "Build the bundle again.",
        )
    pieces = archive_pieces(read.manifest, {path: bytes(c) for path, c in contents.items()}, sign(asked))
    write_whole(output, pieces)
    return output


def home_signer(
    home: KeyHome, passphrase: str | None, valid_days: int = DEFAULT_VALID_DAYS, now: datetime | None = None
) -> Sign:
    """Signs with the keys of a home.

    Args:
        home: The key home.
        passphrase: What unlocks its keys; None where they are not encrypted.
        valid_days: How long a device may take the bundle.
        now: UTC; the clock's by default.

    Raises:
        ConfigError: There are no keys, or the root has expired.
        TrustError: The passphrase is wrong, or keys are missing.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    try:
        from edgepose.host.keys.repository import require_signing_keys, sign_files
        from edgepose.host.keys.role_documents import Moment
    except ModuleNotFoundError as problem:
        raise no_key_library() from problem

    # A wrong passphrase is told before hours of work, not after.
    require_signing_keys(home, passphrase)

    def sign(asked: FilesToSign) -> BundleMetadata:
        # By the clock at the end of the work: another bundle may have been signed meanwhile.
        moment = Moment(now or datetime.now(timezone.utc).replace(microsecond=0), valid_days)
        return sign_files(home, passphrase, asked, moment)

    return sign


def no_key_library() -> MissingDependencyError:
    """Signing needs ``cryptography``; verification does not."""
    return MissingDependencyError(
        "Making keys and signing need the package 'cryptography', which is not installed.",
        "Run: pip install 'edgepose[sign]'",
    )
