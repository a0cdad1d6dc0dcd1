"""What there is to know about a key home; no secret in it."""

from __future__ import annotations

from typing import Any, Literal

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from edgepose.errors import TrustError
from edgepose.host.keys.key_home import KeyHome, read_file, read_roots
from edgepose.host.keys.role_documents import ROLES
from edgepose.records.record import Record
from edgepose.trust.signed_bundle import root_fingerprint


class KeyRoleSummary(Record, frozen=True, kw_only=True):
    """One role.

    Attributes:
        role: ``root``, ``targets``, ``snapshot`` or ``timestamp``.
        version: Version of its newest metadata.
        expires: When that ends, ISO 8601, UTC.
        threshold: Signatures that it needs.
        key_ids: Its keys.
        keys_here: How many of the private keys are in this home.
    """

    role: str
    version: int
    expires: str
    threshold: int
    key_ids: tuple[str, ...]
    keys_here: int


class KeySummary(Record, frozen=True, kw_only=True):
    """``keys show --json``.

    Attributes:
        schema: ``edgepose.keys/1``.
        home: The key home.
        encrypted: Whether a passphrase is needed.
        root_file: The file to enrol devices with.
        fingerprint: Its fingerprint.
        roles: Root first.
    """

    schema: Literal["edgepose.keys/1"] = "edgepose.keys/1"
    home: str
    encrypted: bool
    root_file: str
    fingerprint: str
    roles: tuple[KeyRoleSummary, ...]


def summarize_keys(home: KeyHome) -> KeySummary:
    """Reads the public part of a key home.

    Raises:
        ConfigError: There are no keys, or a file cannot be read.
        TrustError: A file is damaged.
    """
    roots = read_roots(home)
    root = _document(roots[-1], "root")
    rows = []
    for role in ROLES:
        held = root.roles[role]
        newest = root if role == "root" else _document(read_file(home.leaf(role)), role)
        rows.append(
            KeyRoleSummary(
                role=role,
                version=newest.version,
                expires=newest.expires.isoformat(),
                threshold=held.threshold,
                key_ids=tuple(held.keyids),
                keys_here=sum(home.private_key(role, key_id).is_file() for key_id in held.keyids),
            )
        )
    return KeySummary(
        home=str(home.folder),
        encrypted=home.is_encrypted(),
        root_file=str(home.root(len(roots))),
        fingerprint=root_fingerprint(roots[-1]),
        roles=tuple(rows),
    )


def _document(content: bytes, role: str) -> Any:
    try:
        return Metadata.from_bytes(content).signed
    except RepositoryError as problem:
        raise TrustError(
            f"The {role} file of the key home is damaged.", "Restore the key home from a copy."
        ) from problem
