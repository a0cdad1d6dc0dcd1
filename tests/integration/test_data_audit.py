"""``edgepose data audit`` as a user calls it, on pictures that are drawn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.pose.skeletons import COCO17
from tests.support.data_folders import labelled_folder, write_pictures

Done = subprocess.CompletedProcess[str]


def audit(*arguments: object) -> Done:
    call = [sys.executable, "-m", "edgepose", "data", "audit", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)


def report_of(done: Done) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["schema"] == "edgepose.data_audit/1"
    return report


@pytest.fixture
def own_set(marker_set: Path, tmp_path: Path) -> Path:
    """A copy of the marker set that a test may damage."""
    return Path(shutil.copytree(marker_set, tmp_path / "own"))


def _swap_every_side(folder: Path, count: int) -> set[int]:
    """Exchanges left and right in the first annotations; returns their ids."""
    path = folder / "person_keypoints.json"
    labels = json.loads(path.read_text())
    for annotation in labels["annotations"][:count]:
        rows = np.reshape(annotation["keypoints"], (17, 3))
        annotation["keypoints"] = rows[COCO17.flip_permutation].ravel().tolist()
    path.write_text(json.dumps(labels))
    return {annotation["id"] for annotation in labels["annotations"][:count]}


def test_a_good_folder_is_fit_and_the_table_says_what_it_lacks(marker_set: Path) -> None:
    done = audit(marker_set, "--profile", "jetson")
    assert done.returncode == 0, done.stderr
    assert "24 (at least 16 needed)" in done.stdout
    assert "fit to calibrate on" in done.stdout
    assert "missing: no" in done.stdout


def test_all_checks_with_model_and_teacher(
    marker_set: Path, marker_pairs: Path, marker_onnx: Path, marker_spec: Path
) -> None:
    model = ("--model", marker_onnx, "--spec", marker_spec)
    teacher = ("--teacher", marker_onnx, "--teacher-spec", marker_spec)
    done = audit(marker_set, "--against", marker_pairs, *model, *teacher, "--json", "-")
    assert done.returncode == 0, done.stderr
    report = report_of(done)
    assert report["fit"] is True
    assert {leak["kind"] for leak in report["leaks"]} <= {"same_scene"}
    assert report["persons"]["poses_from"] == "labels"
    assert report["parity"]["agrees"] is True
    assert report["parity"]["mean_error_levels"] < 0.5
    assert 1 <= report["ranges"]["median_ratio"] <= report["ranges"]["worst_ratio"]
    assert report["teacher"]["mean_oks"] > 0.9
    assert report["label_errors"] == []
    assert report["licences"] == {"Apache-2.0": 24}


def test_without_labels_the_model_finds_the_persons(
    marker_set: Path, marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(marker_set / "images", tmp_path / "bare"))
    unknown = report_of(audit(bare, "--json", "-"))
    assert unknown["persons"]["poses_from"] == "none"
    assert any("labels or --model" in words for words in unknown["missing"])
    seen = report_of(audit(bare, "--model", marker_onnx, "--spec", marker_spec, "--json", "-"))
    assert seen["persons"]["poses_from"] == "model"
    assert seen["persons"]["persons"] >= 20
    upright = next(s for s in seen["slices"] if (s["group"], s["name"]) == ("torso", "upright"))
    assert upright["count"] >= 20


def test_a_leaking_folder_ends_with_3_after_its_report(marker_set: Path, tmp_path: Path) -> None:
    other = tmp_path / "validation"
    other.mkdir()
    first, second = sorted((marker_set / "images").iterdir())[:2]
    shutil.copy(first, other / "renamed.png")
    small = cv2.resize(
        np.asarray(cv2.imread(str(second))), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA
    )
    cv2.imwrite(str(other / "small.jpg"), small)
    done = audit(marker_set, "--against", other, "--json", "-")
    assert done.returncode == 3
    assert "2 pictures are in" in done.stderr
    assert "1 with the same bytes and 1 as near copies" in done.stderr
    report = report_of(done)
    assert report["fit"] is False
    found = [(leak["file"], leak["kind"]) for leak in report["leaks"] if leak["kind"] != "same_scene"]
    assert found == [
        (first.name, "same_bytes"),
        (second.name, "near_copy"),
    ]
    assert report["leaked_files"] == [first.name]


def test_too_few_pictures_end_with_3_and_the_json_file_is_written(tmp_path: Path) -> None:
    write_pictures(tmp_path / "few", 5)
    done = audit(tmp_path / "few", "--json", tmp_path / "report.json")
    assert done.returncode == 3
    assert "Found 5 different pictures that show something, expected at least 16" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["problems"]
    assert "not fit to calibrate on" in done.stdout


def test_swapped_labels_come_first_and_are_drawn(
    own_set: Path, marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    planted = _swap_every_side(own_set, 4)
    sheet = tmp_path / "sheet.png"
    done = audit(
        own_set, "--teacher", marker_onnx, "--teacher-spec", marker_spec, "--render", sheet, "--json", "-"
    )
    assert done.returncode == 0, done.stderr
    report = report_of(done)
    assert {e["annotation_id"] for e in report["label_errors"]} == planted
    assert {e["kind"] for e in report["label_errors"]} == {"left_right_swapped"}
    assert any("4 of 24 persons look wrong" in words for words in report["missing"])
    assert cv2.imread(str(sheet)) is not None


def test_a_picture_turned_after_labelling_is_a_problem(own_set: Path) -> None:
    path = next((own_set / "images").iterdir())
    cv2.imwrite(str(path), cv2.rotate(np.asarray(cv2.imread(str(path))), cv2.ROTATE_90_CLOCKWISE))
    done = audit(own_set, "--json", "-")
    assert done.returncode == 3
    assert f"do not have their labels' size, first {path.name}" in done.stderr
    assert report_of(done)["label_error_counts"]["size_mismatch"] == 1


def test_normalisation_for_pixels_0_to_1_is_a_problem(
    marker_set: Path, marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    lines = [line for line in marker_spec.read_text().splitlines() if not line.startswith(("mean", "std"))]
    place = lines.index("[input]") + 1
    wrong = [*lines[:place], "mean = [0.485, 0.456, 0.406]", "std = [0.229, 0.224, 0.225]", *lines[place:]]
    (tmp_path / "wrong.toml").write_text("\n".join(wrong))
    done = audit(marker_set, "--model", marker_onnx, "--spec", tmp_path / "wrong.toml")
    assert done.returncode == 3
    assert "check mean and std in the spec" in done.stderr


def test_the_manifest_has_digests_and_licences(marker_set: Path, tmp_path: Path) -> None:
    done = audit(marker_set, "--manifest", tmp_path / "manifest.json")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written == json.loads((marker_set / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--profile", "toaster"), 3, "toaster"),
        (("--teacher", "missing.onnx"), 3, "has none with keypoints"),
        (("--model", "missing.onnx"), 5, "missing.onnx"),
        (("--against", "nowhere"), 3, "nowhere"),
        (("--manifest", "manifest.txt"), 2, "must end in .json"),
        (("--render", "sheet.jpg"), 2, "must end in .png"),
        (("--render", "sheet.png"), 0, "sheet.png was not written"),
    ],
)
def test_wrong_calls_say_what_to_do(tmp_path: Path, options: tuple[str, ...], code: int, says: str) -> None:
    folder = write_pictures(tmp_path / "data", 16)
    done = audit(folder, *options)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_without_licence_are_said_to_be_missing(tmp_path: Path) -> None:
    report = report_of(audit(labelled_folder(tmp_path / "data", 16), "--json", "-"))
    assert "licences of 16 of 16 pictures" in report["missing"]
