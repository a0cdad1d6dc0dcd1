"""Who may sign what a device runs: each refusal beside the same bundle unharmed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import securesystemslib.signer._key as key_module
from tuf.api.metadata import Metadata, MetaFile, Targets
from tuf.api.serialization.json import JSONSerializer

from edgepose.errors import TrustError
from edgepose.host.keys.repository import PrivateKeys
from edgepose.trust.bundle_reader import read_bundle
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.metadata_verifier import check_root
from edgepose.trust.signed_bundle import OlderMetadataError, TrustAnchor
from tests.support.archives import Member, manifest_of, read_members, with_manifest, write_members
from tests.support.bundle_fixtures import bundle_folder
from tests.support.signed_bundles import EPOCH, NOW, Signer, judged, next_anchor

__all__ = ["bundle_folder"]

ORDER = 2**252 + 27742317777372353535851937790883648493


@dataclass(frozen=True)
class Scene:
    """A signer and two of its bundles, in a folder of the test's own."""

    folder: Path
    signer: Signer
    plain: Path
    first: Path
    second: Path

    @property
    def anchor(self) -> TrustAnchor:
        return self.signer.anchor(1)

    def changed(self, change: Callable[[list[Member]], list[Member]], source: Path | None = None) -> Path:
        return write_members(self.folder / "changed.epb", change(read_members(source or self.first)))

    def refusal(self, bundle: Path, anchor: TrustAnchor | None = None) -> str:
        with pytest.raises(TrustError) as caught:
            judged(bundle, anchor or self.anchor)
        return caught.value.message


@pytest.fixture(name="scene")
def _scene(bundle_folder: Path, tmp_path: Path) -> Scene:
    signer = Signer.make(tmp_path / "keys")
    plain = bundle_folder / "version1.epb"
    first = signer.sign(plain, tmp_path / "first.epb")
    second = signer.sign(bundle_folder / "version2.epb", tmp_path / "second.epb")
    scene = Scene(tmp_path, signer, plain, first, second)
    # The negative control of every refusal below.
    assert judged(first, scene.anchor).signed is not None
    return scene


def content_of(members: list[Member], name: str) -> bytes:
    return dict(members)[name]


def replaced(name: str, content: bytes) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [(member, content if member == name else old) for member, old in members]


def signed_by(scene: Scene, document: Targets, role: str) -> bytes:
    """A document signed with a role's real key, as only a thief of the key could."""
    root = Metadata.from_bytes(scene.signer.root()).signed
    metadata = Metadata(document)
    for key in PrivateKeys(scene.signer.home, None).load(role, list(root.roles[role].keyids)):
        metadata.sign(key, append=True)
    return metadata.to_bytes(JSONSerializer())


def test_a_signed_bundle_says_who_signed_what(scene: Scene) -> None:
    bundle = judged(scene.first, scene.anchor)
    signed = bundle.signed
    assert signed is not None
    assert [role.role for role in signed.roles] == ["root", "timestamp", "snapshot", "targets"]
    assert signed.pinned
    assert (signed.bundle_version, signed.profile_id) == (1, "test-board")
    assert set(signed.files) == {"manifest.json"} | {file.path for file in bundle.manifest.files}
    assert signed.signed_at == NOW.isoformat()


def test_signing_leaves_the_files_as_they_were(scene: Scene) -> None:
    members = read_members(scene.first)
    assert [name for name, _ in members[:4]] == [
        "metadata/1.root.json",
        "metadata/timestamp.json",
        "metadata/snapshot.json",
        "metadata/targets.json",
    ]
    assert members[4:] == read_members(scene.plain)
    again = scene.signer.sign(scene.first, scene.folder / "again.epb")
    assert read_members(again)[4:] == read_members(scene.plain)


def test_a_device_without_the_cryptography_package_verifies_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Signer.make(scene.folder / "other")
    forged = wrong.sign(scene.plain, scene.folder / "forged.epb")
    monkeypatch.setattr(key_module, "CRYPTO_IMPORT_ERROR", "not here")
    assert judged(scene.first, scene.anchor).signed is not None
    assert "other keys" in scene.refusal(forged)
    assert "signatures" in scene.refusal(scene.changed(_flip_signature))


def test_an_unsigned_bundle_is_refused_by_an_enrolled_device_and_taken_by_another(scene: Scene) -> None:
    assert "not signed" in scene.refusal(scene.plain)
    assert judged(scene.plain, None).signed is None


def test_a_bundle_of_other_keys_is_refused_with_both_fingerprints(scene: Scene) -> None:
    stranger = Signer.make(scene.folder / "stranger").sign(scene.plain, scene.folder / "stranger.epb")
    assert scene.refusal(stranger).count("SHA256:") == 2
    unpinned = judged(stranger, None).signed
    assert unpinned is not None
    assert not unpinned.pinned


def test_signatures_put_in_front_of_another_bundle_are_refused(scene: Scene) -> None:
    other = read_members(scene.second)
    mixed = scene.changed(lambda members: members[:4] + other[4:])
    assert "not the one that was signed" in scene.refusal(mixed)


def test_a_changed_file_with_a_right_manifest_is_refused(scene: Scene) -> None:
    def change(members: list[Member]) -> list[Member]:
        manifest = manifest_of(members[4:])
        manifest["provenance"]["accuracy"] = "measured"
        return members[:4] + with_manifest(members[4:], json.dumps(manifest).encode())

    assert "not the one that was signed" in scene.refusal(scene.changed(change))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_of_two_bundles_mixed_is_refused(scene: Scene, role: str) -> None:
    name = f"metadata/{role}.json"
    other = content_of(read_members(scene.second), name)
    scene.refusal(scene.changed(replaced(name, other)))


def _flip_signature(members: list[Member]) -> list[Member]:
    data = json.loads(content_of(members, "metadata/timestamp.json"))
    entry = data["signatures"][0]
    entry["sig"] = entry["sig"][:-1] + ("0" if entry["sig"][-1] != "0" else "1")
    return replaced("metadata/timestamp.json", _exact(data))(members)


def _exact(data: object) -> bytes:
    return json.dumps(data, indent=1, separators=(",", ": "), sort_keys=True).encode()


def test_a_second_form_of_a_signature_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads(content_of(read_members(scene.first), "metadata/timestamp.json"))
    assert _exact(data) == content_of(read_members(scene.first), "metadata/timestamp.json")
    raw = bytes.fromhex(data["signatures"][0]["sig"])
    second = int.from_bytes(raw[32:], "little") + ORDER
    data["signatures"][0]["sig"] = (raw[:32] + second.to_bytes(32, "little")).hex()
    monkeypatch.setattr(key_module, "CRYPTO_IMPORT_ERROR", "not here")
    bundle = scene.changed(replaced("metadata/timestamp.json", _exact(data)))
    assert "outside Ed25519's range" in scene.refusal(bundle)


def test_a_signature_that_is_not_needed_must_be_right_too(scene: Scene) -> None:
    data = json.loads(content_of(read_members(scene.first), "metadata/timestamp.json"))
    data["signatures"].append({"keyid": "f" * 64, "sig": "0" * 128})
    bundle = scene.changed(replaced("metadata/timestamp.json", _exact(data)))
    assert "no such role" in scene.refusal(bundle)


def test_metadata_in_another_form_is_refused(scene: Scene) -> None:
    content = content_of(read_members(scene.first), "metadata/targets.json")
    assert "exact form" in scene.refusal(scene.changed(replaced("metadata/targets.json", content + b"\n")))


def test_expired_metadata_is_refused_and_the_day_before_it_is_not(scene: Scene) -> None:
    judged(scene.first, scene.anchor, NOW + timedelta(days=89))
    with pytest.raises(TrustError, match="expired"):
        judged(scene.first, scene.anchor, NOW + timedelta(days=91))


def test_a_clock_in_1970_still_updates(scene: Scene) -> None:
    anchor = next_anchor(scene.first, scene.anchor, EPOCH)
    assert judged(scene.second, anchor, EPOCH).signed is not None


def test_a_clock_in_1970_does_not_unfreeze_what_expired_before_the_last_update(scene: Scene) -> None:
    stale = scene.signer.sign(scene.plain, scene.folder / "stale.epb", valid_days=1)
    later = scene.signer.sign(scene.plain, scene.folder / "later.epb", days_later=10)
    fresh = next_anchor(scene.first, scene.anchor, EPOCH)
    assert judged(stale, fresh, EPOCH).signed is not None
    informed = replace_signed_at(fresh, next_anchor(later, fresh, EPOCH))
    with pytest.raises(TrustError, match="expired"):
        judged(stale, informed, EPOCH)


def replace_signed_at(anchor: TrustAnchor, newer: TrustAnchor) -> TrustAnchor:
    """Only the time moves on, so that expiry and not the version refuses."""
    return TrustAnchor(
        root=anchor.root, timestamp=anchor.timestamp, snapshot=anchor.snapshot, signed_at=newer.signed_at
    )


def test_an_older_bundle_is_refused_unless_a_downgrade_is_allowed(scene: Scene) -> None:
    anchor = next_anchor(scene.second, scene.anchor)
    with pytest.raises(OlderMetadataError, match="before"):
        judged(scene.first, anchor)
    went_back = judged(scene.first, anchor, allow_downgrade=True).signed
    assert went_back is not None
    # It still knows how far it was.
    assert went_back.anchor == anchor
    assert judged(scene.second, anchor).signed is not None


def test_a_device_that_skipped_two_rotations_still_updates(scene: Scene) -> None:
    seen = next_anchor(scene.first, scene.anchor)
    scene.signer.rotate()
    scene.signer.rotate(threshold=2)
    newest = scene.signer.sign(scene.plain, scene.folder / "newest.epb")
    signed = judged(newest, seen).signed
    assert signed is not None
    assert signed.roles[0].version == 3
    assert [role.threshold for role in signed.roles] == [2, 2, 2, 2]


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_a_bundle_of_revoked_keys_is_refused_even_as_a_downgrade(scene: Scene, role: str) -> None:
    scene.signer.rotate([role])
    newest = scene.signer.sign(scene.plain, scene.folder / "newest.epb")
    anchor = next_anchor(newest, scene.anchor)
    for allowed in (False, True):
        with pytest.raises(TrustError, match="rotated since"):
            judged(scene.first, anchor, allow_downgrade=allowed)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_leaves_signed_by_a_revoked_key_under_the_new_root_are_refused(scene: Scene, role: str) -> None:
    old = read_members(scene.first)
    scene.signer.rotate([role])
    newest = scene.signer.sign(scene.plain, scene.folder / "newest.epb")
    roots = read_members(newest)[:2]
    forged = write_members(scene.folder / "forged.epb", roots + old[1:])
    assert "signatures" in scene.refusal(forged)
    assert judged(newest, scene.anchor).signed is not None


def test_a_chain_with_a_missing_root_is_refused(scene: Scene) -> None:
    scene.signer.rotate(["timestamp"])
    scene.signer.rotate(["timestamp"])
    newest = scene.signer.sign(scene.plain, scene.folder / "newest.epb")
    assert judged(newest, scene.anchor).signed is not None
    members = read_members(newest)
    skipped = [*members[:1], ("metadata/2.root.json", members[2][1]), *members[3:]]
    assert "version" in scene.refusal(write_members(scene.folder / "skipped.epb", skipped))


def test_a_root_signed_by_too_few_of_the_old_keys_is_refused(scene: Scene) -> None:
    scene.signer.rotate(["root"], threshold=2)
    scene.signer.rotate(["root"])
    newest = scene.signer.sign(scene.plain, scene.folder / "newest.epb")
    members = read_members(newest)
    data = json.loads(content_of(members, "metadata/3.root.json"))
    before = Metadata.from_bytes(content_of(members, "metadata/2.root.json")).signed.roles["root"].keyids
    one = next(entry for entry in data["signatures"] if entry["keyid"] in before)
    data["signatures"].remove(one)
    bundle = write_members(scene.folder / "few.epb", replaced("metadata/3.root.json", _exact(data))(members))
    assert "not enough valid signatures" in scene.refusal(bundle)
    assert judged(newest, scene.anchor).signed is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda targets: targets.targets.pop("model.onnx"), "differ in model.onnx"),
        (lambda targets: _add(targets, "extra.bin"), "differ in extra.bin"),
        (lambda targets: _add(targets, "../outside"), "leaves the bundle"),
        (lambda targets: setattr(targets.targets["model.onnx"], "length", 1), "differ in model.onnx"),
        (
            lambda targets: targets.targets["model.onnx"].hashes.update(sha512="0" * 128),
            "further digests",
        ),
        (
            lambda targets: targets.targets["manifest.json"].custom.update(bundle_version=9),
            "signed was version 9",
        ),
        (
            lambda targets: targets.targets["manifest.json"].unrecognized_fields.clear(),
            "does not say the bundle's version",
        ),
    ],
)
def test_a_signed_list_that_differs_from_the_manifest_is_refused(
    scene: Scene, change: Callable[[Targets], object], said: str
) -> None:
    """Signed with all the real keys: even their holder cannot make a bundle that contradicts itself."""
    assert said in scene.refusal(scene.changed(lambda members: _resigned(scene, members, change)))
    scene_control = scene.changed(lambda members: _resigned(scene, members, lambda _targets: None))
    assert judged(scene_control, scene.anchor).signed is not None


def _add(targets: Targets, path: str) -> None:
    copied = Targets.from_dict(targets.to_dict()).targets["model.onnx"]
    copied.path = path
    targets.targets[path] = copied


def _resigned(scene: Scene, members: list[Member], change: Callable[[Targets], object]) -> list[Member]:
    contents = dict(members)
    targets, snapshot, timestamp = (
        Metadata.from_bytes(contents[f"metadata/{role}.json"]).signed
        for role in ("targets", "snapshot", "timestamp")
    )
    change(targets)
    contents["metadata/targets.json"] = signed_by(scene, targets, "targets")
    snapshot.meta["targets.json"] = _meta(snapshot.meta["targets.json"], contents["metadata/targets.json"])
    contents["metadata/snapshot.json"] = signed_by(scene, snapshot, "snapshot")
    timestamp.snapshot_meta = _meta(timestamp.snapshot_meta, contents["metadata/snapshot.json"])
    contents["metadata/timestamp.json"] = signed_by(scene, timestamp, "timestamp")
    return list(contents.items())


def _meta(old: object, content: bytes) -> object:
    assert isinstance(old, MetaFile)
    return MetaFile(old.version, len(content), {"sha256": sha256_of_bytes(content)})


def test_two_timestamps_of_one_version_are_refused(scene: Scene) -> None:
    twin_home = scene.folder / "twin"
    shutil.copytree(scene.signer.home.folder, twin_home)
    twin = Signer(replace(scene.signer.home, folder=twin_home))
    third = scene.signer.sign(scene.plain, scene.folder / "third.epb")
    other = twin.sign(scene.second, scene.folder / "other.epb")
    anchor = next_anchor(third, scene.anchor)
    assert judged(third, anchor).signed is not None
    assert "version of another one" in scene.refusal(other, anchor)


def test_without_a_judge_signatures_are_read_and_nothing_is_believed(scene: Scene) -> None:
    bundle = read_bundle(scene.first)
    assert bundle.metadata is not None
    assert bundle.signed is None


def test_a_root_may_be_pinned_only_when_it_is_one(scene: Scene) -> None:
    assert check_root(scene.signer.root()) == scene.signer.root().decode()
    timestamp = content_of(read_members(scene.first), "metadata/timestamp.json")
    broken = json.loads(scene.signer.root())
    broken["signatures"][0]["sig"] = "0" * 128
    for content in (timestamp, b"{}", b"", b"[" * 100_000, _exact(broken)):
        with pytest.raises(TrustError):
            check_root(content)
