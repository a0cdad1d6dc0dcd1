"""Every rule of a bundle, broken one at a time."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import ConfigError, TrustError
from edgepose.records.bundle_manifest import manifest_content
from edgepose.trust import bundle_reader
from edgepose.trust.bundle_reader import END_OF_ARCHIVE, header_for, read_bundle, verify_bundle
from tests.support.archives import (
    Member,
    manifest_of,
    padded,
    read_members,
    tar_entry,
    with_manifest,
    write_members,
)
from tests.support.bundle_fixtures import bundle_folder

__all__ = ["bundle_folder"]


@pytest.fixture(name="members")
def _members(bundle_folder: Path) -> list[Member]:
    return read_members(bundle_folder / "version1.epb")


def refusal(path: Path) -> str:
    with pytest.raises(TrustError) as caught:
        verify_bundle(path)
    return caught.value.message


def test_a_whole_bundle_is_read_and_every_byte_handed_on(bundle_folder: Path, members: list[Member]) -> None:
    found: dict[str, bytes] = {}

    def keep(path: str, piece: bytes) -> None:
        found[path] = found.get(path, b"") + piece

    bundle = read_bundle(bundle_folder / "version1.epb", keep)
    assert found == dict(members[2:])
    assert bundle.size_bytes == (bundle_folder / "version1.epb").stat().st_size
    assert bundle.manifest.bundle_version == 1


def test_members_put_together_again_give_the_same_bytes(
    bundle_folder: Path, members: list[Member], tmp_path: Path
) -> None:
    again = write_members(tmp_path / "again.epb", members)
    assert again.read_bytes() == (bundle_folder / "version1.epb").read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_any_changed_byte_is_refused(bundle_folder: Path, tmp_path: Path, place: float, flipped: int) -> None:
    data = bytearray((bundle_folder / "version1.epb").read_bytes())
    data[int(place * len(data))] ^= flipped
    changed = tmp_path / "changed.epb"
    changed.write_bytes(data)
    refusal(changed)


def test_a_changed_byte_in_every_field_of_every_header_and_in_every_padding_is_refused(
    members: list[Member], tmp_path: Path
) -> None:
    whole = write_members(tmp_path / "whole.epb", members).read_bytes()
    verify_bundle(tmp_path / "whole.epb")
    fields = (0, 99, 100, 108, 116, 124, 136, 148, 156, 157, 257, 263, 265, 297, 329, 345, 500, 511)
    start, changed = 0, tmp_path / "changed.epb"
    for _, content in members:
        end = start + 512 + len(padded(content))
        inside = [start + field for field in fields] + [start + 512, end - 1]
        for offset in inside:
            data = bytearray(whole)
            data[offset] ^= 0x04
            changed.write_bytes(data)
            refusal(changed)
        start = end
    assert whole[start:] == END_OF_ARCHIVE


def test_a_bundle_cut_off_anywhere_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    whole = (bundle_folder / "version1.epb").read_bytes()
    cut = tmp_path / "cut.epb"
    for length in [1, 511, 512, 513, *range(1024, len(whole), 25_000), len(whole) - 512, len(whole) - 1]:
        cut.write_bytes(whole[:length])
        assert "truncated" in refusal(cut)


def test_bytes_after_the_end_are_refused(members: list[Member], tmp_path: Path) -> None:
    assert "bytes follow" in refusal(write_members(tmp_path / "b.epb", members, END_OF_ARCHIVE + b"\0"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (tar_entry("golden/0.png", tarfile.SYMTYPE, link="/etc/passwd"), "symbolic link"),
        (tar_entry("golden/0.png", tarfile.LNKTYPE, link="manifest.json"), "hard link"),
        (tar_entry("golden/0.png", tarfile.DIRTYPE), "folder"),
        (tar_entry("golden/0.png", tarfile.FIFOTYPE), "FIFO"),
        (tar_entry("golden/0.png", tarfile.CHRTYPE), "character device"),
        (tar_entry("golden/0.png", tarfile.BLKTYPE), "block device"),
        (tar_entry("golden/0.png", b"x", b"20 path=elsewhere\n"), "pax header"),
        (tar_entry("golden/0.png", b"L", b"elsewhere\0"), "GNU long name"),
        (tar_entry("/etc/passwd"), "absolute"),
        (tar_entry("golden/../../x"), ".."),
        (tar_entry("golden//0.png"), "empty or hidden"),
        (tar_entry("golden/.hidden"), "empty or hidden"),
        (tar_entry("extra.bin", content=b"x"), "not listed"),
        (tar_entry("manifest.json", content=b"{}"), "twice"),
    ],
)
def test_an_entry_that_is_no_listed_regular_file_is_refused(
    members: list[Member], tmp_path: Path, entry: bytes, said: str
) -> None:
    bundle = write_members(tmp_path / "b.epb", members[:2], end=b"")
    rest = write_members(tmp_path / "rest", members[2:]).read_bytes()
    bundle.write_bytes(bundle.read_bytes() + entry + rest)
    assert said in refusal(bundle)


def test_a_file_added_at_the_end_is_refused(members: list[Member], tmp_path: Path) -> None:
    bundle = write_members(tmp_path / "b.epb", [*members, ("zzz.bin", b"more")])
    assert "does not list" in refusal(bundle)


def test_a_missing_file_is_refused(members: list[Member], tmp_path: Path) -> None:
    assert "'sbom.cdx.json' is missing" in refusal(write_members(tmp_path / "b.epb", members[:-1]))


def test_files_in_another_order_are_refused(members: list[Member], tmp_path: Path) -> None:
    swapped = [*members[:2], members[3], members[2], *members[4:]]
    assert "out of order" in refusal(write_members(tmp_path / "b.epb", swapped))


def test_a_file_twice_is_refused(members: list[Member], tmp_path: Path) -> None:
    twice = [*members[:3], members[2], *members[3:]]
    assert "twice" in refusal(write_members(tmp_path / "b.epb", twice))


def test_changed_content_with_a_right_header_is_refused(members: list[Member], tmp_path: Path) -> None:
    name, content = members[-1]
    changed = [*members[:-1], (name, content[:-1] + bytes([content[-1] ^ 1]))]
    assert "sha256" in refusal(write_members(tmp_path / "b.epb", changed))


def test_content_of_another_size_is_refused(members: list[Member], tmp_path: Path) -> None:
    name, content = members[-1]
    assert "bytes, the manifest says" in refusal(
        write_members(tmp_path / "b.epb", [*members[:-1], (name, content + b"\0")])
    )


def test_a_header_that_claims_another_owner_is_refused(members: list[Member], tmp_path: Path) -> None:
    entry = tarfile.TarInfo("golden/0.png")
    entry.size, entry.uid, entry.mode = len(members[2][1]), 1000, 0o4755
    pieces = [header_for(name, len(content)) + padded(content) for name, content in members]
    pieces[2] = entry.tobuf(tarfile.USTAR_FORMAT) + padded(members[2][1])
    bundle = tmp_path / "b.epb"
    bundle.write_bytes(b"".join(pieces) + END_OF_ARCHIVE)
    assert "header of 'golden/0.png'" in refusal(bundle)


def _set(*keys: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("colour", value="red"), "colour"),
        (_set("schema", value="edgepose.bundle/2"), "edgepose.bundle/2"),
        (_set("bundle_version", value=0), "bundle_version"),
        (_set("bundle_version", value="1"), "bundle_version"),
        (_set("files", 0, "path", value="../../etc/cron.d/x"), ".."),
        (_set("files", 0, "path", value="/etc/passwd"), "absolute"),
        (_set("files", 0, "path", value="a" * 101), "longer"),
        (_set("files", 0, "sha256", value="0" * 63), "sha256"),
        (_set("files", 0, "size_bytes", value=-1), "size_bytes"),
        (_set("files", value=[]), "files"),
        (_set("model", "file", value="golden/0.png"), "model.file"),
        (_set("model", "sha256", value="0" * 64), "model.sha256"),
        (_set("model", "format", value="tflite"), "model.format"),
        (_set("model", "precision", value="float16"), "model.precision"),
        (_set("model", "spec", "paradigm", value="detector"), "detector"),
        (_set("golden", "frames", value=[]), "golden.frames"),
        (_set("golden", "frames", 0, "file", value="golden/9.png"), "golden/9.png"),
        (_set("golden", "frames", 0, "keypoints", value=[[0.0, 0.0, 0.0]]), "17 keypoints"),
        (_set("golden", "tolerance_oks", value=1.5), "tolerance_oks"),
        (
            _set("golden", "detections", value=[{"file": "golden/0.png", "box_xyxy_px": [0, 0, 9, 9]}]),
            "detector",
        ),
        (_set("profile", "runtime", "threads", value=0), "threads"),
        (_set("provenance", value={}), "provenance"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused_with_the_field(
    members: list[Member], tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    manifest = manifest_of(members)
    change(manifest)
    changed = with_manifest(members, json.dumps(manifest).encode())
    assert said in refusal(write_members(tmp_path / "b.epb", changed))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not valid JSON"),
        (b"[]", "object"),
        (b'{"schema": NaN}', "NaN"),
        (b'{"schema": 1, "schema": 1}', "twice"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"bundle_version": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
    ],
)
def test_a_manifest_that_is_no_plain_json_is_refused(
    members: list[Member], tmp_path: Path, text: bytes, said: str
) -> None:
    assert said in refusal(write_members(tmp_path / "b.epb", with_manifest(members, text)))


def test_a_manifest_that_does_not_match_its_digest_is_refused(members: list[Member], tmp_path: Path) -> None:
    other = [("manifest.json", members[0][1].replace(b"Apache", b"apache")), *members[1:]]
    assert "does not match its digest" in refusal(write_members(tmp_path / "b.epb", other))


def test_a_manifest_that_is_too_large_is_refused_before_it_is_read(
    members: list[Member], tmp_path: Path
) -> None:
    bundle = tmp_path / "b.epb"
    bundle.write_bytes(header_for("manifest.json", bundle_reader.MAX_MANIFEST_BYTES + 1))
    assert "at most" in refusal(bundle)


def test_a_bundle_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    bundle = tmp_path / "b.epb"
    with bundle.open("wb") as stream:
        stream.truncate(bundle_reader.MAX_BUNDLE_BYTES + 1)
    assert "expected 1 to" in refusal(bundle)


@pytest.mark.parametrize("content", [b"", b"TFL3 is no bundle", bytes(4096), os.urandom(4096)])
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.epb"
    path.write_bytes(content)
    refusal(path)


def test_a_fifo_and_a_folder_are_refused_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        assert "not a regular file" in refusal(path)


def test_a_missing_bundle_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot open"):
        verify_bundle(tmp_path / "none.epb")


def test_a_manifest_is_written_and_read_back_unchanged(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder / "version1.epb")
    assert manifest_content(bundle.manifest) == bundle.manifest_bytes
