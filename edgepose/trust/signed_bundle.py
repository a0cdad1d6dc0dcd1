"""Who signed a bundle: the metadata it carries, what verified metadata says of it, what a device remembers.

The TUF metadata stands in front of the manifest, so that a device knows whom to believe before it parses
anything else::

    metadata/1.root.json ... metadata/N.root.json
    metadata/timestamp.json, metadata/snapshot.json, metadata/targets.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec

from edgepose.errors import TrustError
from edgepose.records.bundle_manifest import MANIFEST_NAME, METADATA_FOLDER, BundleManifest
from edgepose.records.record import Record
from edgepose.trust.digests import sha256_of_bytes


class TrustAnchor(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The newest metadata that was verified, each as the text of its file.

    Attributes:
        root: The root that is pinned.
        timestamp: The newest timestamp seen, or None before the first signed bundle.
        snapshot: The newest snapshot seen, or None.
        signed_at: When the newest bundle was signed, ISO 8601 in UTC, or None; a device whose clock stands
            in 1970 knows by it that it is later.
        admitted: Manifests, by digest, that run here without a signature under ``root``: they were installed
            before it was pinned, or by a root before it, or by a release that kept no signatures. Each with
            the fingerprint of the root by which it was verified then, or None.
    """

    root: str
    timestamp: str | None = None
    snapshot: str | None = None
    signed_at: str | None = None
    admitted: dict[str, str | None] = msgspec.field(default_factory=dict)


def root_fingerprint(root: str | bytes) -> str:
    """The fingerprint of a root's file, in the form that OpenSSH made familiar."""
    return f"SHA256:{sha256_of_bytes(root.encode() if isinstance(root, str) else root)}"


def root_version(anchor: TrustAnchor) -> int:
    """Version of a root that was verified before it was remembered."""
    return int(json.loads(anchor.root)["signed"]["version"])


def reference_time(clock: datetime, anchor: TrustAnchor) -> datetime:
    """The latest moment that is known to have passed.

    Args:
        clock: What the device's clock says, which may be 1970 where no battery keeps it.
        anchor: What the device remembers.
    """
    known = parse_moment(anchor.signed_at) if anchor.signed_at else None
    return max(clock, known) if known else clock


def parse_moment(text: str) -> datetime:
    """Reads ISO 8601 with a time zone.

    Raises:
        ValueError: It is not such a moment.
    """
    # Python 3.10 does not read the Z.
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' names no time zone")
    return moment.astimezone(timezone.utc)


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
    """A file as the targets role names it."""

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


# Decides by a bundle's metadata, before anything else is read, whether it is taken; raises where not.
Verify = Callable[[BundleMetadata | None], SignedBundle | None]
