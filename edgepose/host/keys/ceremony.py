"""Making, replacing and using keys by this machine's clock, and what there is to know of a key home.

``cryptography`` is imported where private keys are touched, so that all else works without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from edgepose.errors import MissingDependencyError, TrustError
from edgepose.host.keys.key_home import KeyHome, read_file, read_roots
from edgepose.host.keys.role_documents import DEFAULT_VALID_DAYS, ROLES, FilesToSign, Moment
from edgepose.records.record import Record
from edgepose.trust.signed_bundle import BundleMetadata, root_fingerprint

Sign = Callable[[FilesToSign], BundleMetadata]


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


def make_keys(home: KeyHome, passphrase: str | None) -> KeySummary:
    """Makes a key home.

    Raises:
        ConfigError: There are keys already, or the home cannot be written.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    with _key_library():
        from edgepose.host.keys.repository import init_keys

    init_keys(home, passphrase, _now())
    return summarize_keys(home)


def replace_keys(
    home: KeyHome, passphrase: str | None, roles: Sequence[str], threshold: int | None
) -> KeySummary:
    """Rotates keys.

    Raises:
        ConfigError: There are no keys, or too many roots were made.
        TrustError: The passphrase is wrong, or too few of the root's keys are here.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    with _key_library():
        from edgepose.host.keys.repository import rotate_keys

    rotate_keys(home, passphrase, roles, threshold, _now())
    return summarize_keys(home)


def home_signer(
    home: KeyHome, passphrase: str | None, valid_days: int = DEFAULT_VALID_DAYS, now: datetime | None = None
) -> Sign:
    """Signs with the keys of a home, for a device that may take the bundle for ``valid_days`` from now (UTC).

    Raises:
        ConfigError: There are no keys, or the root has expired.
        TrustError: The passphrase is wrong, or keys are missing.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    with _key_library():
        from edgepose.host.keys.repository import require_signing_keys, sign_files

    # A wrong passphrase is told before hours of work, not after.
    require_signing_keys(home, passphrase)

    def sign(asked: FilesToSign) -> BundleMetadata:
        # By the clock at the end of the work: another bundle may have been signed meanwhile.
        return sign_files(home, passphrase, asked, Moment(now or _now(), valid_days))

    return sign


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


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


@contextmanager
def _key_library() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "Making keys and signing need the package 'cryptography', which is not installed.",
            "Run: pip install 'edgepose[sign]'",
        ) from problem
