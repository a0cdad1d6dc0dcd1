"""Makes, rotates and uses the keys of a key home: Ed25519, PKCS #8 in PEM, by a stretched passphrase.

PKCS #8 as ``cryptography`` writes it derives its AES-256 key by PBKDF2 with 2,048 rounds, too few for a
passphrase that people choose. So the passphrase goes through scrypt first (RFC 7914, N = 2^15, r = 8,
p = 1: 32 MiB and about 0.1 s a guess), with one salt a key home.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from edgepose.errors import ConfigError, TrustError
from edgepose.host.keys.key_home import KeyHome, locked, read_file, read_roots
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

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 15, 8, 1
_SCRYPT_MEMORY_BYTES = 64 << 20


def make_private_folder(home: KeyHome) -> None:
    """Makes the folder of the keys and its salt.

    Raises:
        ConfigError: It is there already or cannot be made.
    """
    try:
        home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.private.mkdir(mode=0o700)
        home.metadata.mkdir(exist_ok=True)
        _write_secret(home.salt, secrets.token_hex(16).encode())
    except OSError as problem:
        raise ConfigError(
            f"Cannot make a key home in {home.folder}: {problem.strerror} ({problem.filename}).",
            "Choose another --home; keys that are there are never overwritten.",
        ) from problem


class PrivateKeys:
    """The private keys of a key home, unlocked when they are needed; keys without passphrase are plain."""

    def __init__(self, home: KeyHome, passphrase: str | None) -> None:
        self._home = home
        self._password = None if passphrase is None else _stretched(passphrase, home)

    def make(self, role: str) -> CryptoSigner:
        """Makes a key for a role and writes it.

        Raises:
            ConfigError: The file cannot be written.
        """
        key = Ed25519PrivateKey.generate()
        signer = CryptoSigner(key)
        protection: KeySerializationEncryption = NoEncryption()
        if self._password is not None:
            protection = BestAvailableEncryption(self._password)
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        path = self._home.private_key(role, signer.public_key.keyid)
        try:
            _write_secret(path, content)
        except OSError as problem:
            raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
        return signer

    def load(self, role: str, key_ids: list[str]) -> list[CryptoSigner]:
        """Unlocks those keys of a role that are here.

        Raises:
            TrustError: The passphrase is wrong, or a file is damaged or holds another key.
        """
        paths = {key_id: self._home.private_key(role, key_id) for key_id in key_ids}
        return [self._unlocked(path, key_id) for key_id, path in paths.items() if path.is_file()]

    def forget(self, role: str, key_ids: list[str]) -> None:
        """Removes keys that no role names any more.

        Raises:
            ConfigError: A file cannot be removed.
        """
        for key_id in key_ids:
            path = self._home.private_key(role, key_id)
            try:
                path.unlink(missing_ok=True)
            except OSError as problem:
                raise ConfigError(f"Cannot remove {path}: {problem.strerror}.") from problem

    def _unlocked(self, path: Path, key_id: str) -> CryptoSigner:
        try:
            key = load_pem_private_key(path.read_bytes(), self._password)
        except OSError as problem:
            raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem
        # ValueError: wrong passphrase or no key. TypeError: a passphrase where none is needed, or none where
        # one is.
        except (ValueError, TypeError) as problem:
            raise TrustError(
                f"Cannot unlock {path.name}: the passphrase is not the right one, or the file is damaged.",
                "Keys made with --no-passphrase take none.",
            ) from problem
        if not isinstance(key, Ed25519PrivateKey) or CryptoSigner(key).public_key.keyid != key_id:
            raise TrustError(f"{path} holds another key than its name says.")
        return CryptoSigner(key)


def _stretched(passphrase: str, home: KeyHome) -> bytes:
    try:
        salt = bytes.fromhex(home.salt.read_text(encoding="ascii"))
    except (OSError, ValueError) as problem:
        raise ConfigError(
            f"{home.salt} is missing or damaged; without it no key can be unlocked."
        ) from problem
    key = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=_SCRYPT_MEMORY_BYTES
    )
    return base64.b64encode(key)


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


MAX_KEYS_PER_ROLE = 10


def init_keys(home: KeyHome, passphrase: str | None, now: datetime) -> None:
    """Makes a key for each role, and root version 1; no passphrase writes them plain, ``now`` is UTC.

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

    The passphrase unlocks the old keys and encrypts the new ones. The threshold is how many keys these roles
    have, and all of them must sign; None keeps the thresholds. ``now`` is UTC, in whole seconds.

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
