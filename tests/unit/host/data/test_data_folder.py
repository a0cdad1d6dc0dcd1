"""Data folders: what is unusable is counted; only nothing usable is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.audit.folder_audit import audit_folder
from edgepose.host.data.audit.model_findings import AuditRequest
from edgepose.host.data.data_folder import open_data_folder
from tests.support.data_folders import labelled_folder, write_labels, write_pictures


def test_folder_with_labels_gives_each_picture_its_boxes(tmp_path: Path) -> None:
    folder = open_data_folder(labelled_folder(tmp_path / "data", 3, persons_each=2))
    assert folder.counts.images == 3
    assert folder.counts.has_labels
    boxes = [image.person_boxes_xyxy_px for image in folder.images]
    assert all(found is not None and len(found) == 2 for found in boxes)
    assert boxes[0] is not None
    assert boxes[0][0].tolist() == [5, 8, 25, 48]


def test_bare_folder_has_no_labels(tmp_path: Path) -> None:
    folder = open_data_folder(write_pictures(tmp_path / "data", 2))
    assert not folder.has_labels
    assert folder.images_without_label == 2
    assert folder.images[0].person_boxes_xyxy_px is None


def test_labels_may_lie_beside_the_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    write_labels(tmp_path / "person_keypoints.json", [0, 1])
    folder = open_data_folder(tmp_path)
    assert folder.has_labels
    assert folder.other_files == 0


def test_labels_without_picture_and_pictures_without_label_are_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", 3)
    write_labels(tmp_path / "person_keypoints.json", [0, 7, 8])
    counts = open_data_folder(tmp_path).counts
    assert (counts.images, counts.labels_without_image, counts.images_without_label) == (3, 2, 2)


def test_unreadable_pictures_and_other_files_are_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    (tmp_path / "broken.jpg").write_bytes(b"no picture at all")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    counts = open_data_folder(tmp_path).counts
    assert (counts.images, counts.unreadable, counts.other_files) == (2, 2, 1)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "nothing"),
        ({"notes.txt": b"text"}, "1 files that are no pictures"),
        ({"a.jpg": b"text", "b.png": b""}, "2 unreadable"),
    ],
)
def test_folder_without_a_usable_picture_is_refused(
    tmp_path: Path, files: dict[str, bytes], found: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=found):
        open_data_folder(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        open_data_folder(tmp_path / "nowhere")


def test_audit_finds_copies_and_leaks_under_any_name(tmp_path: Path) -> None:
    mine = write_pictures(tmp_path / "mine", 3)
    (mine / "copy.png").write_bytes((mine / "001.png").read_bytes())
    other = write_pictures(tmp_path / "other", 1, first=9)
    (other / "renamed.png").write_bytes((mine / "002.png").read_bytes())
    report = audit_folder(AuditRequest(mine, other))
    assert report.duplicate_groups == (("001.png", "copy.png"),)
    assert report.counts.exact_duplicates == 1
    assert report.leaked_files == ("002.png",)
    assert 0 <= report.brightness_low <= report.brightness_median <= report.brightness_high <= 255


def test_audit_of_separate_folders_finds_no_leak(tmp_path: Path) -> None:
    mine, other = write_pictures(tmp_path / "mine", 2), write_pictures(tmp_path / "other", 2, first=5)
    report = audit_folder(AuditRequest(mine, other))
    assert report.leaked_files == ()
    assert report.duplicate_groups == ()
