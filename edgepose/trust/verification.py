"""Whether a bundle's signatures are good enough: decided by its metadata, before anything else of it is read.

python-tuf takes longer to import than a command that verifies nothing may, so it is imported when asked.
"""

from __future__ import annotations

from datetime import datetime, timezone

from edgepose.errors import TrustError
from edgepose.trust.signed_bundle import BundleMetadata, SignedBundle, TrustAnchor, Verify

# A version that is installed goes on running when its signature has run out, and without a clock.
_NEVER_EXPIRED = datetime(1970, 1, 1, tzinfo=timezone.utc)


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
