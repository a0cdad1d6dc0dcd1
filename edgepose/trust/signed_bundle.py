"""What verified metadata says about a bundle, and whether the bundle is that one."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.spec.bundle_manifest import MANIFEST_NAME, BundleManifest
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
