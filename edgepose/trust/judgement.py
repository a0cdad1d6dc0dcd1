"""Whom a bundle reader believes: decided before anything but the metadata is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from edgepose.errors import TrustError
from edgepose.trust.anchor import TrustAnchor
from edgepose.trust.bundle_metadata import BundleMetadata
from edgepose.trust.signed_bundle import SignedBundle


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
