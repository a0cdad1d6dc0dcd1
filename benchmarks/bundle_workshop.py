"""A signed bundle to harm, others to mix it with, keys, and two devices: the workshop of the fuzz."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgepose.host.bundle.signing import archive_pieces, files_to_sign
from edgepose.host.keys.ceremony import home_signer
from edgepose.host.keys.key_home import KeyHome
from edgepose.host.keys.repository import init_keys, rotate_keys
from edgepose.host.keys.role_documents import ROLES
from edgepose.records.bundle_manifest import (
    BundledFile,
    BundledModel,
    BundleManifest,
    GoldenFrame,
    GoldenSet,
    Provenance,
    manifest_content,
)
from edgepose.records.device_profile import find_profile
from edgepose.records.model_spec import HeatmapCodecSpec, InputSpec, ModelSpec
from edgepose.trust.bundle_reader import BLOCK_BYTES, END_OF_ARCHIVE, header_for, padding_bytes
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.signed_bundle import TrustAnchor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
Member = tuple[str, bytes]


@dataclass
class Workshop:
    """A signed bundle, others to mix it with, and the keys of an attacker.

    Attributes:
        home: The keys that the device has pinned: two rotations, thresholds of 2.
        members: The bundle to harm.
        sources: Other bundles: of the same keys before the rotations and older than what any device has seen,
            of the same keys now, of a stranger.
        stranger: The attacker's own keys.
        anchors: What devices remember: one that skipped both rotations, and one that took the bundle before.
    """

    home: KeyHome
    members: list[Member]
    sources: list[list[Member]]
    stranger: KeyHome
    anchors: tuple[TrustAnchor, ...]
    whole: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.whole = packed(self.members)

    @property
    def metadata_names(self) -> list[str]:
        """Names of the metadata members."""
        return [name for name, _ in self.members if name.startswith("metadata/")]

    def replaced(self, name: str, content: bytes) -> bytes:
        """The bundle with another content of one member."""
        return packed([(member, content if member == name else old) for member, old in self.members])


def make_workshop(folder: Path) -> Workshop:
    """Makes keys and bundles."""
    home, stranger = KeyHome(folder / "keys"), KeyHome(folder / "stranger")
    for keys in (home, stranger):
        init_keys(keys, None, NOW)
    before, seen_first = _signed_members(home, 1), _signed_members(home, 1)
    rotate_keys(home, None, ROLES, 2, NOW)
    rotate_keys(home, None, ["timestamp"], None, NOW)
    seen_last, wanted, later = (_signed_members(home, version) for version in (1, 2, 3))
    anchors = (_anchor(seen_first), _anchor(seen_last))
    return Workshop(home, wanted, [before, later, _signed_members(stranger, 2)], stranger, anchors)


def _anchor(taken: list[Member]) -> TrustAnchor:
    """What a device remembers of a bundle that it took."""
    contents = dict(taken)
    newest = [content for name, content in taken if name.endswith(".root.json")][-1]
    return TrustAnchor(
        root=newest.decode(),
        timestamp=contents["metadata/timestamp.json"].decode(),
        snapshot=contents["metadata/snapshot.json"].decode(),
    )


def packed(members: list[Member]) -> bytes:
    """An archive in a bundle's form."""
    pieces = [header_for(name, len(c)) + c + bytes(padding_bytes(len(c))) for name, c in members]
    return b"".join(pieces) + END_OF_ARCHIVE


def _manifest(version: int) -> tuple[BundleManifest, dict[str, bytes]]:
    """A bundle that no runtime could run, and that the reader cannot tell from one: it looks at bytes."""
    draw = random.Random(version)  # noqa: S311 - content of no meaning
    contents = {name: draw.randbytes(size) for name, size in (("golden/0.png", 700), ("model.onnx", 3000))}
    spec = ModelSpec(
        name="fuzzed", version="1", paradigm="top_down", licence="Apache-2.0", source="benchmarks",
        input=InputSpec(width_px=64, height_px=64, layout="NCHW", color_order="RGB", resize="crop"),
        codec=HeatmapCodecSpec(subpixel="none"), skeleton="coco17",
    )  # fmt: skip
    frame = GoldenFrame(
        file="golden/0.png", seed=1, image_sha256="0" * 64, width_px=64, height_px=64, box_xyxy_px=None,
        area_px2=1.0, keypoints=((0.0, 0.0, 1.0),) * 17,
    )  # fmt: skip
    manifest = BundleManifest(
        bundle_version=version,
        model=BundledModel(
            file="model.onnx", sha256=sha256_of_bytes(contents["model.onnx"]), format="onnx",
            precision="float32", spec=spec,
        ),
        profile=find_profile("jetson"),
        files=tuple(
            BundledFile(path=path, sha256=sha256_of_bytes(content), size_bytes=len(content))
            for path, content in sorted(contents.items())
        ),
        min_runtime_version="1.0",
        golden=GoldenSet(tolerance_oks=0.9, frames=(frame,)),
        provenance=Provenance(created_by="benchmarks", licences=(), tools={}, accuracy="not measured"),
    )  # fmt: skip
    return manifest, contents


def _signed_members(home: KeyHome, version: int) -> list[Member]:
    manifest, contents = _manifest(version)
    metadata = home_signer(home, None, now=NOW)(files_to_sign(manifest, manifest_content(manifest)))
    archive = b"".join(archive_pieces(manifest, contents, metadata))
    members: list[Member] = []
    offset = 0
    while archive[offset : offset + BLOCK_BYTES] != bytes(BLOCK_BYTES):
        name = archive[offset : offset + 100].rstrip(b"\0").decode()
        size = int(archive[offset + 124 : offset + 135], 8)
        start = offset + BLOCK_BYTES
        members.append((name, archive[start : start + size]))
        offset = start + size + padding_bytes(size)
    return members


def exact(data: object) -> bytes:
    """JSON in the form of the metadata files."""
    return json.dumps(data, indent=1, separators=(",", ": "), sort_keys=True).encode()
