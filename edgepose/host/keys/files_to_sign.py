"""What a signature covers; apart from the signer, so that building a bundle needs no key library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepose.trust.signed_bundle import SignedFile

# A bundle that waits longer before it is installed has to be signed again.
DEFAULT_VALID_DAYS = 90


@dataclass(frozen=True)
class FilesToSign:
    """What a bundle's signature covers.

    Attributes:
        files: Path to size and digest of every file, the manifest among them.
        bundle_version: The bundle's version.
        profile_id: The profile that it is for.
    """

    files: Mapping[str, SignedFile]
    bundle_version: int
    profile_id: str
