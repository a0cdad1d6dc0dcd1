"""What a signature covers, and the TUF documents as they should be next: no file, private key or clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from edgepose.records.bundle_manifest import MANIFEST_NAME
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.metadata_verifier import SIGNED_AT_FIELD
from edgepose.trust.signed_bundle import SignedFile

# A bundle that waits longer before it is installed has to be signed again.
DEFAULT_VALID_DAYS = 90


@dataclass(frozen=True)
class FilesToSign:
    """What a bundle's signature covers.

    Attributes:
        files: Path to size and digest of every file, the manifest among them.
    """

    files: Mapping[str, SignedFile]
    bundle_version: int
    profile_id: str


ROLES = ("root", "targets", "snapshot", "timestamp")
ROOT_DAYS = 730


@dataclass(frozen=True)
class Moment:
    """When something is signed and how long it holds.

    Attributes:
        now: UTC, whole seconds.
        valid_days: How long a device may take what is signed now.
    """

    now: datetime
    valid_days: int = DEFAULT_VALID_DAYS

    @property
    def expires(self) -> datetime:
        """End of targets, snapshot and timestamp."""
        return self.now + timedelta(days=self.valid_days)


def first_root(keys: Mapping[str, list[Key]], now: datetime) -> Root:
    """Version 1: each role with its keys, one signature each."""
    return _root(1, {role: (keys[role], 1) for role in ROLES}, now)


def next_root(root: Root, replaced: Mapping[str, list[Key]], now: datetime) -> Root:
    """The root after one: some roles get new keys, all of which must sign; it holds two years from now."""
    roles = {}
    for role in ROLES:
        held = root.roles[role]
        kept = ([root.keys[key_id] for key_id in held.keyids], held.threshold)
        roles[role] = (replaced[role], len(replaced[role])) if role in replaced else kept
    return _root(root.version + 1, roles, now)


def targets_for(
    version: int, files: Mapping[str, SignedFile], custom: Mapping[str, object], moment: Moment
) -> Targets:
    """The targets role that names a bundle's files, the manifest among them, by path, size and digest."""
    targets = {
        path: TargetFile(
            file.size_bytes,
            {"sha256": file.sha256},
            path,
            {"custom": dict(custom)} if path == MANIFEST_NAME else None,
        )
        for path, file in files.items()
    }
    return Targets(version, expires=moment.expires, targets=targets)


def snapshot_for(targets: Targets, content: bytes, moment: Moment) -> Snapshot:
    """The snapshot role over a signed targets file."""
    return Snapshot(
        targets.version, expires=moment.expires, meta={"targets.json": _meta(targets.version, content)}
    )


def timestamp_for(snapshot: Snapshot, content: bytes, moment: Moment) -> Timestamp:
    """The timestamp role over a signed snapshot file; it says when it was signed."""
    return Timestamp(
        snapshot.version,
        expires=moment.expires,
        snapshot_meta=_meta(snapshot.version, content),
        unrecognized_fields={SIGNED_AT_FIELD: moment.now.isoformat()},
    )


def _root(version: int, roles: Mapping[str, tuple[list[Key], int]], now: datetime) -> Root:
    return Root(
        version,
        expires=now + timedelta(days=ROOT_DAYS),
        keys={key.keyid: key for keys, _ in roles.values() for key in keys},
        roles={
            role: Role([key.keyid for key in keys], threshold) for role, (keys, threshold) in roles.items()
        },
        consistent_snapshot=False,
    )


def _meta(version: int, content: bytes) -> MetaFile:
    return MetaFile(version, len(content), {"sha256": sha256_of_bytes(content)})
