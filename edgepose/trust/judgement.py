"""Whom a bundle reader believes: decided before anything but the metadata is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from edgepose.errors import TrustError
from edgepose.trust.anchor import TrustAnchor
from edgepose.trust.bundle_metadata import BundleMetadata
from edgepose.trust.signed_bundle import SignedBundle


class OlderMetadataError(TrustError):
    """The metadata is older than what this device has verified before."""


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
