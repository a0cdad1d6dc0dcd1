"""What verified metadata says about a bundle, and whether the bundle is that one.

The TUF metadata that a signed bundle carries, as bytes that nobody has believed yet.

It stands in front of the manifest, so that a device knows whom to believe before it parses anything else::

    metadata/1.root.json ... metadata/N.root.json
    metadata/timestamp.json, metadata/snapshot.json, metadata/targets.json

Whom a bundle reader believes: decided before anything but the metadata is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from edgepose.errors import TrustError
from edgepose.records.bundle_manifest import MANIFEST_NAME, METADATA_FOLDER, BundleManifest
from edgepose.trust.anchor import TrustAnchor
from edgepose.trust.digests import sha256_of_bytes


@dataclass(frozen=True)
class SignedRole:
    """Who signed one role's metadata.

    Attributes:
        role: ``root``, ``timestamp``, ``snapshot`` or ``targets``.
        version: Version of its metadata.
        expires: ISO 8601, UTC.
        threshold: Signatures that it needs.
        key_ids: Keys whose signatures were verified.
    """

    role: str
    version: int
    expires: str
    threshold: int
    key_ids: tuple[str, ...]


@dataclass(frozen=True)
class SignedFile:
    """A file as the targets role names it.

    Attributes:
        size_bytes: Its exact size.
        sha256: Digest of its content.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class SignedBundle:
    """What verified metadata names.

    Attributes:
        roles: Who signed, root first.
        files: Every file of the bundle but the metadata and the manifest's digest, the manifest among them.
        bundle_version: The version that was signed.
        profile_id: The profile that was signed.
        signed_at: When, by the signer's clock; ISO 8601, UTC.
        fingerprint: Fingerprint of the newest root.
        anchor: What a device that takes this bundle remembers.
        pinned: Whether the keys were compared with a pinned root. Where not, the metadata agrees with itself
            only, which anybody can bring about.
        older: Whether it is older than what was verified before, and was allowed to be.
    """

    roles: tuple[SignedRole, ...]
    files: dict[str, SignedFile]
    bundle_version: int
    profile_id: str
    signed_at: str
    fingerprint: str
    anchor: TrustAnchor
    pinned: bool
    older: bool = False

    @property
    def manifest_sha256(self) -> str | None:
        """Digest of the manifest that was signed."""
        signed = self.files.get(MANIFEST_NAME)
        return signed.sha256 if signed is not None else None

    def manifest_bytes_problem(self, content: bytes) -> str | None:
        """Says why these are not the manifest's bytes that were signed; asked before they are parsed."""
        signed = self.files.get(MANIFEST_NAME)
        if signed is None or (signed.size_bytes, signed.sha256) != (len(content), sha256_of_bytes(content)):
            return "its manifest is not the one that was signed"
        return None

    def manifest_problem(self, manifest: BundleManifest) -> str | None:
        """Says in what a manifest differs from what was signed."""
        listed = {file.path: SignedFile(file.size_bytes, file.sha256) for file in manifest.files}
        signed = {path: file for path, file in self.files.items() if path != MANIFEST_NAME}
        odd = sorted(path for path in listed.keys() | signed.keys() if listed.get(path) != signed.get(path))
        if odd:
            return f"the manifest and the signed list differ in {', '.join(odd[:3])}"
        found = (manifest.bundle_version, manifest.profile.id)
        if found != (self.bundle_version, self.profile_id):
            return (
                f"it is version {found[0]} for '{found[1]}', signed was version {self.bundle_version} "
                f"for '{self.profile_id}'"
            )
        return None


FIRST_ROOT_NAME = f"{METADATA_FOLDER}1.root.json"
LEAF_NAMES = tuple(f"{METADATA_FOLDER}{role}.json" for role in ("timestamp", "snapshot", "targets"))
# A root of ten keys has 6 KiB, and targets of 64 files 20 KiB.
MAX_METADATA_BYTES = 256 << 10
# As many as python-tuf follows by default.
MAX_ROOTS = 256


def root_name(version: int) -> str:
    """The member that holds a version of root."""
    return f"{METADATA_FOLDER}{version}.root.json"


@dataclass(frozen=True)
class BundleMetadata:
    """What a bundle says about who signed it; not verified.

    Attributes:
        roots: All versions of root from the first on, each as in its file.
        timestamp: The timestamp role's file.
        snapshot: The snapshot role's file.
        targets: The targets role's file.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes

    def members(self) -> list[tuple[str, bytes]]:
        """Names and contents in the order of the archive."""
        roots = [(root_name(number), content) for number, content in enumerate(self.roots, 1)]
        leaves = (self.timestamp, self.snapshot, self.targets)
        return [*roots, *zip(LEAF_NAMES, leaves, strict=True)]


class OlderMetadataError(TrustError):
    """The metadata is older than what this device has verified before."""


# A version that is installed goes on running when its signature has run out, and without a clock.
_NEVER_EXPIRED = datetime(1970, 1, 1, tzinfo=timezone.utc)

Judge = Callable[[BundleMetadata | None], SignedBundle | None]


def judge_by(anchor: TrustAnchor | None, clock: datetime, *, allow_downgrade: bool = False) -> Judge:
    """A judge of bundles.

    Args:
        anchor: What is pinned. None takes unsigned bundles, and signed ones that agree with themselves; the
            verdict then says ``pinned: False``.
        clock: What the clock says.
        allow_downgrade: Whether a bundle may be older than what was verified before.
    """

    def judge(metadata: BundleMetadata | None) -> SignedBundle | None:
        if metadata is None:
            if anchor is None:
                return None
            raise TrustError(
                "The bundle is not signed, and this device takes only bundles signed by its pinned keys.",
                "Build it with the keys: edgepose bundle MODEL --profile ID --sign -o FILE.epb",
            )
        # python-tuf takes longer to import than a command that verifies nothing may.
        from edgepose.trust.metadata_verifier import MetadataVerifier

        return MetadataVerifier(anchor, clock, allow_downgrade).verify(metadata)

    return judge


def judge_installed(root: str | None, metadata: BundleMetadata) -> SignedBundle:
    """Who signed what is installed already: signatures, thresholds and the chain of roots, but no dates.

    Args:
        root: The pinned root. None checks that the metadata agrees with itself, for what was admitted under
            another root.
        metadata: As it was kept beside the files.

    Raises:
        TrustError: Anything about it is not as it must be.
    """
    from edgepose.trust.metadata_verifier import MetadataVerifier

    anchor = TrustAnchor(root=root) if root is not None else None
    return MetadataVerifier(anchor, _NEVER_EXPIRED).verify(metadata)
