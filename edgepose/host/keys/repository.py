"""Makes, shows, rotates and uses the keys of a key home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from edgepose.errors import ConfigError, TrustError
from edgepose.host.keys.key_home import KeyHome, locked, read_file, read_roots
from edgepose.host.keys.private_keys import PrivateKeys, make_private_folder
from edgepose.host.keys.role_documents import (
    ROLES,
    FilesToSign,
    Moment,
    first_root,
    next_root,
    snapshot_for,
    targets_for,
    timestamp_for,
)
from edgepose.records.files import write_whole
from edgepose.trust.metadata_verifier import SIGNED_AT_FIELD
from edgepose.trust.signed_bundle import MAX_ROOTS, BundleMetadata, SignedFile, parse_moment

MAX_KEYS_PER_ROLE = 10


def init_keys(home: KeyHome, passphrase: str | None, now: datetime) -> None:
    """Makes a key for each role, and root version 1.

    Args:
        home: Where; there must be no keys yet.
        passphrase: What encrypts them; None writes them plain.
        now: UTC, whole seconds.

    Raises:
        ConfigError: There are keys, or the home cannot be written.
    """
    make_private_folder(home)
    keys = PrivateKeys(home, passphrase)
    with locked(home):
        signers = {role: [keys.make(role)] for role in ROLES}
        root = first_root(_public(signers), now)
        _sign_leaves(home, signers, FilesToSign({}, 0, ""), Moment(now))
        # Last: a home without a root was never finished.
        write_whole(home.root(1), [_signed(root, signers["root"])])


def read_root(home: KeyHome) -> Root:
    """The newest root.

    Raises:
        ConfigError: There are no keys, or the file cannot be read.
        TrustError: It is damaged.
    """
    return _newest_root(read_roots(home)).signed


def sign_files(home: KeyHome, passphrase: str | None, asked: FilesToSign, moment: Moment) -> BundleMetadata:
    """Signs a bundle's files; every call takes the next version, whatever becomes of it.

    Raises:
        ConfigError: There are no keys, the home cannot be written, the root has expired, or the clock went
            back.
        TrustError: The passphrase is wrong, or keys are missing.
    """
    with locked(home):
        roots = read_roots(home)
        signers = _leaf_signers(home, passphrase, _newest_root(roots).signed, moment.now)
        leaves = _sign_leaves(home, signers, asked, moment)
    return BundleMetadata(tuple(roots), *leaves)


def require_signing_keys(home: KeyHome, passphrase: str | None) -> None:
    """Makes sure that a bundle could be signed.

    Raises:
        ConfigError: There are no keys, or the root has expired.
        TrustError: The passphrase is wrong, or keys are missing.
    """
    _leaf_signers(home, passphrase, read_root(home), datetime.now(timezone.utc))


def rotate_keys(
    home: KeyHome, passphrase: str | None, roles: Sequence[str], threshold: int | None, now: datetime
) -> Root:
    """Replaces the keys of some roles; the old ones are revoked and their files removed.

    Args:
        home: The key home.
        passphrase: What unlocks the old keys and encrypts the new ones.
        roles: Whose keys.
        threshold: How many keys these roles have, and all of them must sign; None keeps the thresholds.
        now: UTC, whole seconds.

    Returns:
        The new root.

    Raises:
        ConfigError: There are no keys, or too many roots or keys were asked for.
        TrustError: The passphrase is wrong, or too few of the root's keys are here.
    """
    if threshold is not None and not 1 <= threshold <= MAX_KEYS_PER_ROLE:
        raise ConfigError(f"A threshold is 1 to {MAX_KEYS_PER_ROLE}, found {threshold}.")
    with locked(home):
        roots = read_roots(home)
        if len(roots) >= MAX_ROOTS:
            raise ConfigError(
                f"This home has {len(roots)} roots, as many as a device follows.", "Begin a new one."
            )
        old, keys = _newest_root(roots).signed, PrivateKeys(home, passphrase)
        old_signers = _unlocked(keys, old, "root")
        made = {
            role: [keys.make(role) for _ in range(threshold or old.roles[role].threshold)] for role in roles
        }
        root = next_root(old, _public(made), now)
        root_signers = {s.public_key.keyid: s for s in [*old_signers, *made.get("root", [])]}
        content = _signed(root, list(root_signers.values()))
        signers = {role: made.get(role) or _unlocked(keys, root, role) for role in ROLES if role != "root"}
        write_whole(home.root(root.version), [content])
        # What a device finds from now on is signed by keys that the new root names.
        targets = Metadata.from_bytes(read_file(home.leaf("targets"))).signed
        _sign_leaves(home, signers, _as_signed_before(targets), Moment(now))
        for role in roles:
            keys.forget(
                role, [key_id for key_id in old.roles[role].keyids if key_id not in root.roles[role].keyids]
            )
    return root


def _leaf_signers(
    home: KeyHome, passphrase: str | None, root: Root, now: datetime
) -> dict[str, list[CryptoSigner]]:
    if root.is_expired(now):
        raise ConfigError(
            f"Root version {root.version} expired on {root.expires.date()}.", "Run: edgepose keys rotate"
        )
    keys = PrivateKeys(home, passphrase)
    return {role: _unlocked(keys, root, role) for role in ROLES if role != "root"}


def _as_signed_before(targets: Any) -> FilesToSign:
    files = {path: SignedFile(t.length, t.hashes["sha256"]) for path, t in targets.targets.items()}
    custom: dict[str, Any] = next((t.custom for t in targets.targets.values() if t.custom), {})
    return FilesToSign(files, custom.get("bundle_version", 0), custom.get("profile", ""))


def _sign_leaves(
    home: KeyHome, signers: Mapping[str, list[CryptoSigner]], asked: FilesToSign, moment: Moment
) -> tuple[bytes, bytes, bytes]:
    """Signs targets, snapshot and timestamp with the next version, and keeps them.

    Returns:
        Timestamp, snapshot and targets, in the order of a bundle.
    """
    custom = {"bundle_version": asked.bundle_version, "profile": asked.profile_id}
    targets = targets_for(_next_version(home, moment), asked.files, custom, moment)
    targets_bytes = _signed(targets, signers["targets"])
    snapshot = snapshot_for(targets, targets_bytes, moment)
    snapshot_bytes = _signed(snapshot, signers["snapshot"])
    timestamp_bytes = _signed(timestamp_for(snapshot, snapshot_bytes, moment), signers["timestamp"])
    # The timestamp first: it counts the versions, and none may be given twice.
    for role, content in (
        ("timestamp", timestamp_bytes),
        ("snapshot", snapshot_bytes),
        ("targets", targets_bytes),
    ):
        write_whole(home.leaf(role), [content])
    return timestamp_bytes, snapshot_bytes, targets_bytes


def _next_version(home: KeyHome, moment: Moment) -> int:
    if not home.leaf("timestamp").is_file():
        return 1
    last = Metadata.from_bytes(read_file(home.leaf("timestamp"))).signed
    signed_at = parse_moment(last.unrecognized_fields[SIGNED_AT_FIELD])
    # A device takes the time of the newest bundle as having passed.
    if moment.now < signed_at:
        raise ConfigError(
            f"The clock says {moment.now.isoformat()}, and the last signature is of {signed_at.isoformat()}.",
            "Set this machine's clock.",
        )
    return int(last.version) + 1


def _newest_root(roots: list[bytes]) -> Metadata[Root]:
    try:
        return Metadata[Root].from_bytes(roots[-1])
    except RepositoryError as problem:
        raise TrustError(f"Root version {len(roots)} of the key home is damaged.") from problem


def _unlocked(keys: PrivateKeys, root: Root, role: str) -> list[CryptoSigner]:
    wanted = root.roles[role]
    signers = keys.load(role, list(wanted.keyids))
    if len(signers) < wanted.threshold:
        raise TrustError(
            f"Role {role} needs {wanted.threshold} keys, and {len(signers)} of its keys are here.",
            "Bring the missing key files into the home's private folder.",
        )
    return signers


def _public(signers: Mapping[str, list[CryptoSigner]]) -> dict[str, list[Key]]:
    return {role: [signer.public_key for signer in held] for role, held in signers.items()}


def _signed(document: Any, signers: Sequence[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(document)
    # In this order, so that there is one form only.
    for signer in sorted(signers, key=lambda signer: signer.public_key.keyid):
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer())
