"""What a device remembers of those whom it believes: pinned once, moved on by what it verified."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import msgspec

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
