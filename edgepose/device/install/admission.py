"""Which bundles a device root takes: those of its pinned keys; unsigned ones only while none are pinned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from edgepose.errors import DeployError, TrustError
from edgepose.trust.signed_bundle import BundleMetadata, OlderMetadataError, SignedBundle, TrustAnchor, Verify
from edgepose.trust.verification import verify_by


def bundle_verifier(
    trust: TrustAnchor | None, enroll: bytes | None, clock: datetime, *, allow_downgrade: bool
) -> Verify:
    """Who may sign for a device root.

    Args:
        trust: What is pinned, or None.
        enroll: Root to pin where nothing is pinned, or None.
        clock: What the clock says.
        allow_downgrade: Whether a bundle may be older than what was verified before.

    Raises:
        TrustError: ``enroll`` is needed and is not a root.
    """
    if trust is None and enroll is not None:
        from edgepose.trust.metadata_verifier import check_root

        trust = TrustAnchor(root=check_root(enroll))
    if trust is not None:
        return verify_by(trust, clock, allow_downgrade=allow_downgrade)
    return _unsigned_only


def _unsigned_only(metadata: BundleMetadata | None) -> SignedBundle | None:
    # To take the keys that a bundle brings along would be to believe the first who comes.
    if metadata is not None:
        raise TrustError(
            "The bundle is signed, and this device has pinned no keys to compare with.",
            "Run: edgepose-device enroll ROOT.json",
        )
    return None


@contextmanager
def older_is_a_downgrade() -> Iterator[None]:
    """Turns older metadata into the refusal of a downgrade, as an older bundle version is one.

    Raises:
        DeployError: The bundle was signed before what was verified before.
    """
    try:
        yield
    except OlderMetadataError as problem:
        raise DeployError(problem.message, problem.hint) from problem
