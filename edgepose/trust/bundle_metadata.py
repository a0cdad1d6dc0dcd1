"""The TUF metadata that a signed bundle carries, as bytes that nobody has believed yet.

It stands in front of the manifest, so that a device knows whom to believe before it parses anything else::

    metadata/1.root.json ... metadata/N.root.json
    metadata/timestamp.json, metadata/snapshot.json, metadata/targets.json
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.spec.bundle_manifest import METADATA_FOLDER

FIRST_ROOT_NAME = f"{METADATA_FOLDER}1.root.json"
LEAF_NAMES = tuple(f"{METADATA_FOLDER}{role}.json" for role in ("timestamp", "snapshot", "targets"))
# A root of ten keys has 6 KiB, and targets of 64 files 20 KiB.
MAX_METADATA_BYTES = 256 << 10
# As many as python-tuf follows by default.
MAX_ROOTS = 256


def root_name(version: int) -> str:
    """The member that holds a version of root."""
    return f"{METADATA_FOLDER}{version}.root.json"


@dataclass(frozen=True)
class BundleMetadata:
    """What a bundle says about who signed it; not verified.

    Attributes:
        roots: All versions of root from the first on, each as in its file.
        timestamp: The timestamp role's file.
        snapshot: The snapshot role's file.
        targets: The targets role's file.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes

    def members(self) -> list[tuple[str, bytes]]:
        """Names and contents in the order of the archive."""
        roots = [(root_name(number), content) for number, content in enumerate(self.roots, 1)]
        leaves = (self.timestamp, self.snapshot, self.targets)
        return [*roots, *zip(LEAF_NAMES, leaves, strict=True)]
