"""Each rule of the verifier at its edge: signed with all the real keys, so that only the rule can refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Targets
from tuf.api.serialization.json import JSONSerializer

from edgepose.errors import TrustError
from edgepose.host.keys.repository import PrivateKeys
from edgepose.trust.bundle_reader import read_bundle
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.metadata_verifier import SIGNED_AT_FIELD, MetadataVerifier, _check_signature, check_root
from edgepose.trust.signed_bundle import (
    BundleMetadata,
    OlderMetadataError,
    SignedBundle,
    TrustAnchor,
    parse_moment,
    reference_time,
    root_fingerprint,
    root_version,
)
from tests.support.bundle_fixtures import bundle_folder
from tests.support.signed_bundles import EPOCH, NOW, Signer, judged, next_anchor

__all__ = ["bundle_folder"]

ORDER = 2**252 + 27742317777372353535851937790883648493
Change = Callable[[Any], object]


def exact(data: object) -> bytes:
    return json.dumps(data, indent=1, separators=(",", ": "), sort_keys=True).encode()


@dataclass
class Papers:
    """A bundle's metadata, and how to write it anew with the real keys."""

    signer: Signer
    metadata: BundleMetadata

    def verified(self, metadata: BundleMetadata | None = None, clock: datetime = NOW) -> SignedBundle:
        return MetadataVerifier(self.signer.anchor(1), clock).verify(metadata or self.metadata)

    def refusal(self, metadata: BundleMetadata, *, pinned: bool = True) -> str:
        anchor = self.signer.anchor(1) if pinned else None
        with pytest.raises(TrustError) as refused:
            MetadataVerifier(anchor, NOW).verify(metadata)
        return refused.value.message.removeprefix("The bundle's signatures are refused: ")

    def signed(self, document: Any, role: str) -> bytes:
        root = Metadata.from_bytes(self.signer.root()).signed
        metadata = Metadata(document)
        for key in PrivateKeys(self.signer.home, None).load(role, list(root.roles[role].keyids)):
            metadata.sign(key, append=True)
        metadata.signatures = dict(sorted(metadata.signatures.items()))
        return metadata.to_bytes(JSONSerializer())

    def changed(
        self, targets: Change = len, snapshot: Change = len, timestamp: Change = len
    ) -> BundleMetadata:
        """All three leaves signed again after a change to each."""
        documents = [
            Metadata.from_bytes(content).signed
            for content in (self.metadata.targets, self.metadata.snapshot, self.metadata.timestamp)
        ]
        _apply(targets, documents[0])
        new_targets = self.signed(documents[0], "targets")
        documents[1].meta["targets.json"] = _meta(documents[1].meta["targets.json"], new_targets)
        _apply(snapshot, documents[1])
        new_snapshot = self.signed(documents[1], "snapshot")
        documents[2].snapshot_meta = _meta(documents[2].snapshot_meta, new_snapshot)
        _apply(timestamp, documents[2])
        return replace(
            self.metadata,
            targets=new_targets,
            snapshot=new_snapshot,
            timestamp=self.signed(documents[2], "timestamp"),
        )

    def with_signature(self, role: str, change: Callable[[str], object]) -> BundleMetadata:
        """The first signature of a role's file in another form; the file itself in its exact form."""
        data = json.loads(self.content(role))
        data["signatures"][0]["sig"] = change(data["signatures"][0]["sig"])
        return self.with_content(role, exact(data))

    def content(self, role: str) -> bytes:
        return self.metadata.roots[0] if role == "root" else bytes(getattr(self.metadata, role))

    def with_content(self, role: str, content: bytes) -> BundleMetadata:
        """A role's file exchanged; those that name its length and digest are signed again."""
        if role == "root":
            return replace(self.metadata, roots=(content, *self.metadata.roots[1:]))
        changed = replace(self.metadata, **{role: content})
        snapshot, timestamp = (Metadata.from_bytes(c).signed for c in (changed.snapshot, changed.timestamp))
        if role == "targets":
            snapshot.meta["targets.json"] = _meta(snapshot.meta["targets.json"], content)
            changed = replace(changed, snapshot=self.signed(snapshot, "snapshot"))
        if role != "timestamp":
            timestamp.snapshot_meta = _meta(timestamp.snapshot_meta, changed.snapshot)
            changed = replace(changed, timestamp=self.signed(timestamp, "timestamp"))
        return changed


def _apply(change: Change, document: Any) -> None:
    if change is not len:
        change(document)


def _meta(old: MetaFile, content: bytes) -> MetaFile:
    return MetaFile(old.version, len(content), {"sha256": sha256_of_bytes(content)})


@pytest.fixture(name="papers")
def _papers(bundle_folder: Path, tmp_path: Path) -> Papers:
    signer = Signer.make(tmp_path / "keys")
    metadata = read_bundle(signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")).metadata
    assert metadata is not None
    papers = Papers(signer, metadata)
    # The control of every refusal below: written anew without a change, it is taken.
    assert papers.verified(papers.changed()).bundle_version == 1
    return papers


ROLES = ("root", "timestamp", "snapshot", "targets")


def outside_the_group(sig: str) -> str:
    raw = bytes.fromhex(sig)
    return (raw[:32] + ORDER.to_bytes(32, "little")).hex()


def last_of_the_group(sig: str) -> str:
    raw = bytes.fromhex(sig)
    return (raw[:32] + (ORDER - 1).to_bytes(32, "little")).hex()


@pytest.mark.parametrize("role", ROLES)
def test_a_signature_in_capitals_is_refused_though_it_verifies(papers: Papers, role: str) -> None:
    found = papers.refusal(papers.with_signature(role, str.upper), pinned=role != "root")
    assert f"{role}.json has a signature that is not in its exact form" in found


@pytest.mark.parametrize(
    "change",
    [
        lambda sig: sig[:2] + " " + sig[2:],
        lambda sig: sig + " ",
        lambda sig: sig[:-2],
        lambda sig: sig + "00",
        lambda _sig: "",
    ],
    ids=["a space within", "a space behind", "63 bytes", "65 bytes", "nothing"],
)
def test_a_signature_that_is_not_64_bytes_in_plain_hex_is_refused(
    papers: Papers, change: Callable[[str], str]
) -> None:
    assert "signature" in papers.refusal(papers.with_signature("targets", change))


@pytest.mark.parametrize("form", [7, None, ["a"], {"a": 1}])
def test_a_signature_that_is_no_text_is_refused(papers: Papers, form: object) -> None:
    found = papers.refusal(papers.with_signature("targets", lambda _sig: form))
    assert "targets.json" in found
    assert "no text" in found or "not TUF metadata" in found


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_signature_beside_those_that_are_needed_must_verify_too(papers: Papers, role: str) -> None:
    """Rule 3: the root's key is a real one, and has no such role."""
    data = json.loads(papers.content(role))
    other = json.loads(papers.content("root"))["signatures"][0]
    data["signatures"] = sorted([*data["signatures"], other], key=lambda entry: str(entry["keyid"]))
    assert "no such role" in papers.refusal(papers.with_content(role, exact(data)))


@pytest.mark.parametrize(("change", "said"), [
    (outside_the_group, "outside Ed25519's range"),
    (last_of_the_group, "does not verify"),
])  # fmt: skip
def test_the_order_of_the_group_is_where_a_signature_is_out_of_range(
    papers: Papers, change: Callable[[str], str], said: str
) -> None:
    # Asked alone: TUF's own steps would say before that too few signatures are valid.
    root = Metadata.from_bytes(papers.signer.root())
    keyid, signature = next(iter(root.signatures.items()))
    signature.signature = change(signature.signature)
    with pytest.raises(TrustError, match=said):
        _check_signature("some.json", root.signed.keys[keyid], signature, b"content")


def test_signatures_that_are_not_sorted_by_their_keys_are_refused(
    bundle_folder: Path, tmp_path: Path
) -> None:
    signer = Signer.make(tmp_path / "keys")
    signer.rotate(threshold=2)
    metadata = read_bundle(signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")).metadata
    assert metadata is not None
    papers = Papers(signer, metadata)
    assert papers.verified().bundle_version == 1
    data = json.loads(metadata.targets)
    assert len(data["signatures"]) == 2
    data["signatures"].reverse()
    assert "targets.json is not written in the exact form" in papers.refusal(
        papers.with_content("targets", exact(data))
    )


def signed_at(text: object) -> Change:
    return lambda timestamp: timestamp.unrecognized_fields.update({SIGNED_AT_FIELD: text})


def expiry_of(papers: Papers) -> datetime:
    return Metadata.from_bytes(papers.metadata.timestamp).signed.expires


@pytest.mark.parametrize("seconds", [0, 1, 10_000])
def test_what_was_signed_at_or_after_its_expiry_is_refused(papers: Papers, seconds: int) -> None:
    late = (expiry_of(papers) + timedelta(seconds=seconds)).isoformat()
    found = papers.refusal(papers.changed(timestamp=signed_at(late)))
    assert found == "its timestamp expired before it was signed."


def test_what_was_signed_a_second_before_its_expiry_is_taken(papers: Papers) -> None:
    late = (expiry_of(papers) - timedelta(seconds=1)).isoformat()
    assert papers.verified(papers.changed(timestamp=signed_at(late))).signed_at == late


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T12:00:00", None, 7, ""])
def test_a_timestamp_that_does_not_say_when_it_was_signed_is_refused(papers: Papers, text: object) -> None:
    assert "does not say when" in papers.refusal(papers.changed(timestamp=signed_at(text)))


@pytest.mark.parametrize("count", [0, 257])
def test_a_chain_has_1_to_256_roots(papers: Papers, count: int) -> None:
    metadata = replace(papers.metadata, roots=papers.metadata.roots * count)
    assert papers.refusal(metadata) == f"it has {count} roots, expected 1 to 256."


def test_256_roots_are_not_too_many(papers: Papers) -> None:
    # They are copies of the first, which is another matter.
    assert "expected 1 to" not in papers.refusal(replace(papers.metadata, roots=papers.metadata.roots * 256))


@pytest.mark.parametrize(("field", "value"), [("keytype", "rsa"), ("scheme", "rsassa-pss-sha256")])
def test_keys_of_another_type_are_refused(papers: Papers, field: str, value: str) -> None:
    data = json.loads(papers.metadata.roots[0])
    next(iter(data["signed"]["keys"].values()))[field] = value
    found = papers.refusal(papers.with_content("root", exact(data)), pinned=False)
    assert "expected ed25519" in found or "not TUF metadata" in found
    with pytest.raises(TrustError):
        check_root(exact(data))


def test_one_key_under_two_names_is_refused(papers: Papers) -> None:
    """Else one holder would reach a threshold of two alone."""
    data = json.loads(papers.metadata.roots[0])
    name, key = next(iter(data["signed"]["keys"].items()))
    data["signed"]["keys"]["f" * len(name)] = key
    assert "one key has two names" in papers.refusal(papers.with_content("root", exact(data)), pinned=False)
    with pytest.raises(TrustError, match="one key has two names"):
        check_root(exact(data))


def test_a_bundle_that_delegates_is_refused(papers: Papers) -> None:
    def delegate(targets: Targets) -> None:
        role = DelegatedRole("other", [], 1, terminating=True, paths=["*"])
        targets.delegations = Delegations({}, {"other": role})

    assert "delegates to further roles" in papers.refusal(papers.changed(targets=delegate))


def test_a_snapshot_of_further_roles_is_refused(papers: Papers) -> None:
    def more(snapshot: Any) -> None:
        snapshot.meta["other.json"] = MetaFile(1)

    assert "delegates to further roles" in papers.refusal(papers.changed(snapshot=more))


@pytest.mark.parametrize(
    "custom",
    [
        {},
        {"profile": "test-board"},
        {"bundle_version": 1},
        {"bundle_version": "1", "profile": "test-board"},
        {"bundle_version": 1, "profile": 2},
    ],
)
def test_the_signed_list_says_version_and_profile(papers: Papers, custom: dict[str, object]) -> None:
    def change(targets: Targets) -> None:
        targets.targets["manifest.json"].unrecognized_fields["custom"] = custom

    assert "does not say the bundle's version" in papers.refusal(papers.changed(targets=change))


def test_a_signed_list_without_the_manifest_says_nothing(papers: Papers) -> None:
    changed = papers.changed(targets=lambda targets: targets.targets.pop("manifest.json"))
    assert "does not say the bundle's version" in papers.refusal(changed)


@pytest.mark.parametrize(
    "hashes", [{"sha256": "0" * 63}, {"sha256": "0" * 65}, {"sha512": "0" * 64}, {"sha256": ""}]
)
def test_each_file_has_one_sha256(papers: Papers, hashes: dict[str, str]) -> None:
    def change(targets: Targets) -> None:
        targets.targets["model.onnx"].hashes = hashes

    with pytest.raises((TrustError, ValueError)):
        papers.verified(papers.changed(targets=change))


def test_what_was_verified_is_told(papers: Papers) -> None:
    signed = papers.verified()
    assert [role.role for role in signed.roles] == list(ROLES)
    for role in signed.roles:
        document = json.loads(papers.content(role.role))
        assert role.version == document["signed"]["version"]
        assert role.expires.startswith(document["signed"]["expires"].removesuffix("Z"))
        assert role.key_ids == tuple(sorted(entry["keyid"] for entry in document["signatures"]))
        assert role.threshold == 1
    root = papers.signer.root().decode()
    assert signed.fingerprint == root_fingerprint(root)
    assert signed.anchor == TrustAnchor(
        root=root,
        timestamp=papers.metadata.timestamp.decode(),
        snapshot=papers.metadata.snapshot.decode(),
        signed_at=NOW.isoformat(),
    )
    assert (signed.pinned, signed.older) == (True, False)
    assert signed.manifest_sha256 == signed.files["manifest.json"].sha256


def test_expired_metadata_says_that_the_clock_may_be_wrong(papers: Papers) -> None:
    with pytest.raises(TrustError, match=r"\(frozen metadata, or this clock is wrong\)"):
        papers.verified(clock=NOW + timedelta(days=3650))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_each_role_expires(papers: Papers, role: str) -> None:
    def expire(document: Any) -> None:
        document.expires = (NOW - timedelta(seconds=1)).replace(microsecond=0)

    assert "expired" in papers.refusal(papers.changed(**{role: expire}))


def test_a_root_that_was_rotated_away_is_told_with_both_versions(bundle_folder: Path, tmp_path: Path) -> None:
    signer = Signer.make(tmp_path / "keys")
    old = signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")
    signer.rotate()
    with pytest.raises(TrustError, match="signed under root version 1, and this device trusts version 2"):
        judged(old, signer.anchor(2))


def test_a_device_that_pinned_the_second_root_takes_the_whole_chain(
    bundle_folder: Path, tmp_path: Path
) -> None:
    signer = Signer.make(tmp_path / "keys")
    signer.rotate()
    signer.rotate()
    bundle = signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")
    for pinned in (1, 2, 3):
        signed = judged(bundle, signer.anchor(pinned)).signed
        assert signed is not None
        assert root_version(signed.anchor) == 3


def test_a_device_that_goes_back_under_newer_keys_keeps_both_keys_and_how_far_it_was(
    bundle_folder: Path, tmp_path: Path
) -> None:
    signer = Signer.make(tmp_path / "keys")
    first = signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")
    second = signer.sign(bundle_folder / "version2.epb", tmp_path / "2.epb")
    seen = next_anchor(second, signer.anchor(1))
    with pytest.raises(OlderMetadataError):
        judged(first, seen)
    back = judged(first, seen, allow_downgrade=True).signed
    assert back is not None
    assert back.older
    assert (back.anchor.timestamp, back.anchor.snapshot) == (seen.timestamp, seen.snapshot)
    # The same bundle again is no step back, whether or not one is allowed.
    again = judged(second, seen, allow_downgrade=True).signed
    assert again is not None
    assert not again.older


def test_without_a_pinned_root_metadata_only_agrees_with_itself(papers: Papers) -> None:
    signed = MetadataVerifier(None, NOW).verify(papers.metadata)
    assert (signed.pinned, signed.older, signed.bundle_version) == (False, False, 1)


def test_an_expired_root_may_be_pinned_and_another_kind_of_metadata_not(papers: Papers) -> None:
    with pytest.raises(TrustError, match="it is 'timestamp' metadata, expected a root"):
        check_root(papers.metadata.timestamp)
    document: Root = Metadata.from_bytes(papers.metadata.roots[0]).signed
    document.expires = datetime(2001, 1, 1, tzinfo=timezone.utc)
    content = papers.signed(document, "root")
    assert check_root(content) == content.decode()


def test_a_root_that_too_few_signed_may_not_be_pinned(papers: Papers) -> None:
    data = json.loads(papers.metadata.roots[0])
    data["signatures"] = []
    with pytest.raises(TrustError, match="not enough valid signatures"):
        check_root(exact(data))


LATER = NOW + timedelta(days=10)


@pytest.mark.parametrize(
    ("clock", "told", "expected"),
    [(EPOCH, None, EPOCH), (EPOCH, NOW, NOW), (LATER, NOW, LATER), (NOW, LATER, LATER)],
)
def test_the_latest_moment_that_is_known_to_have_passed(
    clock: datetime, told: datetime | None, expected: datetime
) -> None:
    anchor = TrustAnchor(root="{}", signed_at=None if told is None else told.isoformat())
    assert reference_time(clock, anchor) == expected


@pytest.mark.parametrize(
    "text", ["2026-11-23T12:00:00Z", "2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00+00:00"]
)
def test_a_moment_is_read_in_any_zone(text: str) -> None:
    moment = parse_moment(text)
    assert moment == NOW
    assert moment.tzinfo == timezone.utc


@pytest.mark.parametrize("text", ["2026-11-23T12:00:00", "now", ""])
def test_a_moment_without_a_zone_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text)


def test_a_fingerprint_is_the_digest_of_the_file() -> None:
    import hashlib

    expected: Sequence[str] = [f"SHA256:{hashlib.sha256(b'root').hexdigest()}"] * 2
    assert [root_fingerprint("root"), root_fingerprint(b"root")] == expected
