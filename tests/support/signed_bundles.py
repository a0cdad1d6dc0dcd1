"""Real keys in a folder, and bundles signed with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgepose.host.bundle.signing import sign_bundle
from edgepose.host.keys.ceremony import home_signer
from edgepose.host.keys.key_home import KeyHome, read_roots
from edgepose.host.keys.repository import init_keys, rotate_keys
from edgepose.host.keys.role_documents import ROLES
from edgepose.trust.bundle_reader import VerifiedBundle, read_bundle
from edgepose.trust.signed_bundle import TrustAnchor
from edgepose.trust.verification import verify_by

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Signer:
    """A key home without a passphrase; those with one have their own tests."""

    home: KeyHome

    @classmethod
    def make(cls, folder: Path) -> Signer:
        init_keys(KeyHome(folder), None, NOW)
        return cls(KeyHome(folder))

    def sign(self, bundle: Path, output: Path, days_later: int = 0, valid_days: int = 90) -> Path:
        return sign_bundle(
            bundle, output, home_signer(self.home, None, valid_days, NOW + timedelta(days=days_later))
        )

    def rotate(self, roles: Sequence[str] = ROLES, threshold: int | None = None) -> None:
        rotate_keys(self.home, None, roles, threshold, NOW)

    def root(self, version: int | None = None) -> bytes:
        return read_roots(self.home)[-1 if version is None else version - 1]

    def anchor(self, version: int | None = None) -> TrustAnchor:
        return TrustAnchor(root=self.root(version).decode())


def judged(
    bundle: Path, anchor: TrustAnchor | None, clock: datetime = NOW, *, allow_downgrade: bool = False
) -> VerifiedBundle:
    """A bundle as a device with this anchor and clock takes it."""
    return read_bundle(bundle, None, verify_by(anchor, clock, allow_downgrade=allow_downgrade))


def next_anchor(bundle: Path, anchor: TrustAnchor, clock: datetime = NOW) -> TrustAnchor:
    """What a device remembers once it took the bundle."""
    signed = judged(bundle, anchor, clock).signed
    assert signed is not None
    return signed.anchor
