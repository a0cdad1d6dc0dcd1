"""Digests and licences of a data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.data_folder import licences_of, make_manifest, open_data_folder, write_folder_manifest
from edgepose.host.synthetic.image_set import PictureSetRequest, write_picture_set
from edgepose.trust.digests import sha256_of_file
from tests.support.data_folders import labelled_folder, write_pictures


def test_a_folder_with_a_manifest_gives_the_same_manifest_again(tmp_path: Path) -> None:
    write_picture_set(tmp_path / "figures", PictureSetRequest(3, size_wh=(96, 72)))
    write_folder_manifest(tmp_path / "figures", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "figures" / "manifest.json").read_bytes()


def test_a_changed_picture_loses_what_the_manifest_said(tmp_path: Path) -> None:
    write_picture_set(tmp_path, PictureSetRequest(3, size_wh=(96, 72)))
    (tmp_path / "person_keypoints.json").unlink()
    changed = tmp_path / "images" / "figure_00001.jpg"
    changed.write_bytes((tmp_path / "images" / "figure_00000.jpg").read_bytes())
    manifest = make_manifest(open_data_folder(tmp_path))
    assert licences_of(manifest) == {"Apache-2.0": 2, "unknown": 1}
    assert manifest.files[1].licence == "unknown"
    assert manifest.files[1].sha256 == sha256_of_file(changed)


def test_licences_come_from_the_labels(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path, 3)
    labels = json.loads((folder / "person_keypoints.json").read_text())
    labels["licenses"] = [{"id": 4, "name": "CC-BY-2.0", "url": "https://example.org"}]
    for image, licence in zip(labels["images"], (4, 9, None), strict=True):
        image["license"] = licence
    labels["images"][0]["flickr_url"] = "https://example.org/1"
    (folder / "person_keypoints.json").write_text(json.dumps(labels))
    manifest = make_manifest(open_data_folder(folder))
    assert [file.licence for file in manifest.files] == ["CC-BY-2.0", "unknown", "unknown"]
    assert manifest.files[0].source == "https://example.org/1"
    assert manifest.files[0].file == "images/000.png"


def test_pictures_without_any_statement_are_unknown(tmp_path: Path) -> None:
    manifest = make_manifest(open_data_folder(write_pictures(tmp_path, 2)))
    assert licences_of(manifest) == {"unknown": 2}


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    (tmp_path / "manifest.json").write_text('{"schema": "edgepose.dataset/1", "files": [{"file": 3}]}')
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        make_manifest(open_data_folder(tmp_path))
