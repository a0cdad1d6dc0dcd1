"""Whether a bundle's signatures are good enough: decided by its metadata, before anything else of it is read.

python-tuf takes longer to import than a command that verifies nothing may, so it is imported when asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError, TrustError
from edgepose.records.bundle_manifest import SBOM_NAME
from edgepose.trust.bundle_reader import VerifiedBundle, read_bundle
from edgepose.trust.signed_bundle import BundleMetadata, SignedBundle, TrustAnchor, Verify

# A version that is installed goes on running when its signature has run out, and without a clock.
_NEVER_EXPIRED = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_SBOM_BYTES = 4 << 20


def verify_by(anchor: TrustAnchor | None, clock: datetime, *, allow_downgrade: bool = False) -> Verify:
    """What a bundle reader asks: whether a bundle's signatures are good enough.

    Args:
        anchor: What is pinned. None takes unsigned bundles, and signed ones that agree with themselves; the
            answer then says ``pinned: False``.
        clock: What the clock says.
        allow_downgrade: Whether a bundle may be older than what was verified before.
    """

    def verify(metadata: BundleMetadata | None) -> SignedBundle | None:
        if metadata is None:
            if anchor is None:
                return None
            raise TrustError(
                "The bundle is not signed, and this device takes only bundles signed by its pinned keys.",
                "Build it with the keys: edgepose bundle MODEL --profile ID --sign -o FILE.epb",
            )
        from edgepose.trust.metadata_verifier import MetadataVerifier

        return MetadataVerifier(anchor, clock, allow_downgrade).verify(metadata)

    return verify


def verify_installed(root: str | None, metadata: BundleMetadata) -> SignedBundle:
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


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle whose bytes and signatures were checked, and what its bill of materials lists, if any."""

    bundle: VerifiedBundle
    sbom: dict[str, Any] | None


def read_root_file(path: Path) -> bytes:
    """Reads a root's file; whether it is one is checked by who uses it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem


def check_by_root(bundle: Path, root: bytes | None) -> CheckedBundle:
    """Checks a bundle's bytes and signatures.

    Args:
        bundle: The bundle.
        root: Root that must have led to its signatures, and then it must be signed; None checks that the
            signatures agree with themselves.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    anchor = None
    if root is not None:
        from edgepose.trust.metadata_verifier import check_root

        anchor = TrustAnchor(root=check_root(root))
    return check_by_anchor(bundle, anchor)


def check_by_anchor(bundle: Path, anchor: TrustAnchor | None) -> CheckedBundle:
    """The same by what a device remembers; what is only older than that is no fault here.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    verify = verify_by(anchor, datetime.now(timezone.utc), allow_downgrade=True)
    sbom = bytearray()

    def keep(path: str, piece: bytes) -> None:
        if path == SBOM_NAME and len(sbom) + len(piece) <= _MAX_SBOM_BYTES:
            sbom.extend(piece)

    verified = read_bundle(bundle, keep, verify)
    return CheckedBundle(verified, _listed(bytes(sbom)) if sbom else None)


def _listed(content: bytes) -> dict[str, Any]:
    """What a bill of materials lists; it was verified as a file, and is read with care all the same."""
    try:
        document = json.loads(content)
        parts = document["components"]
        delivered = [one for part in parts for one in (part, *part.get("components", ()))]
        packages = {
            f"{one['name']} {one['version']}"
            for one in delivered
            if one["type"] == "library" and one.get("scope") != "excluded"
        }
        form = f"{document['bomFormat']} {document['specVersion']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise TrustError(f"The bill of materials in the bundle cannot be read: {problem!r}.") from problem
    return {"file": SBOM_NAME, "format": form, "components": len(delivered), "packages": sorted(packages)}


def check_by_home(bundle: Path, roots: tuple[bytes, ...]) -> CheckedBundle:
    """The same by a key home's roots, which may be another's than the bundle's: then nothing is compared.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    metadata = read_bundle(bundle).metadata
    ours = metadata is not None and bool(roots) and metadata.roots[0] == roots[0]
    return check_by_root(bundle, roots[-1] if ours else None)
