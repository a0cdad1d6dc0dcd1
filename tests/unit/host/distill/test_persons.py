"""Who is learned from, and which teachers are taken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.persons import ImageSource, collect_persons
from edgepose.host.distill.sample_cache import open_cache
from edgepose.host.distill.students import STUDENT_SKELETON, STUDENTS, student_named
from edgepose.host.distill.teacher import CoordinateTeacher, HeatmapTeacher, open_teacher
from edgepose.runtime.open_model import open_detector
from edgepose.trust.digests import sha256_of_file
from tests.support.full_disk import largest_file, small_disk
from tests.support.marker_scene import marker_scene, write_marker_set

KEYPOINTS = list(STUDENT_SKELETON.keypoint_names)


def _changed_labels(folder: Path, out: Path, change: object) -> Path:
    labels = json.loads((folder / "person_keypoints.json").read_text())
    change(labels)  # type: ignore[operator]
    out.write_text(json.dumps(labels))
    return out


def test_everybody_labelled_is_collected_with_all_keypoints(marker_set: Path) -> None:
    found = collect_persons([ImageSource(marker_set)], STUDENT_SKELETON)
    assert (len(found.persons), found.images, found.too_small) == (24, 24, 0)
    assert all(person.labelled.all() for person in found.persons)
    assert found.digest == collect_persons([ImageSource(marker_set)], STUDENT_SKELETON).digest


def test_the_digest_changes_with_a_label(marker_set: Path, tmp_path: Path) -> None:
    def move(labels: dict) -> None:
        labels["annotations"][0]["keypoints"][0] += 1

    moved = _changed_labels(marker_set, tmp_path / "moved.json", move)
    plain = collect_persons([ImageSource(marker_set)], STUDENT_SKELETON)
    other = collect_persons([ImageSource(marker_set, moved)], STUDENT_SKELETON)
    assert plain.digest != other.digest


def test_labels_are_matched_by_name_and_missing_ones_stay_unlabelled(
    marker_set: Path, tmp_path: Path
) -> None:
    def reorder(labels: dict) -> None:
        labels["categories"][0]["keypoints"] = ["right_ankle", "tail", "nose"]
        for annotation in labels["annotations"]:
            annotation["keypoints"] = [1, 2, 2, 3, 4, 2, 5, 6, 2]
            annotation["num_keypoints"] = 3

    labels = _changed_labels(marker_set, tmp_path / "few.json", reorder)
    person = collect_persons([ImageSource(marker_set, labels)], STUDENT_SKELETON).persons[0]
    assert [KEYPOINTS[i] for i in person.labelled.nonzero()[0]] == ["nose", "right_ankle"]
    assert person.keypoints_px[KEYPOINTS.index("nose")].tolist() == [5, 6]
    assert person.keypoints_px[KEYPOINTS.index("right_ankle")].tolist() == [1, 2]


def test_labels_of_another_skeleton_are_refused(marker_set: Path, tmp_path: Path) -> None:
    def rename(labels: dict) -> None:
        labels["categories"][0]["keypoints"] = [f"paw_{i}" for i in range(17)]

    labels = _changed_labels(marker_set, tmp_path / "paws.json", rename)
    with pytest.raises(ConfigError, match="none of the student's keypoints"):
        collect_persons([ImageSource(marker_set, labels)], STUDENT_SKELETON)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no image"):
        collect_persons([ImageSource(tmp_path)], STUDENT_SKELETON)


def test_a_folder_without_labels_needs_a_detector(marker_set: Path) -> None:
    with pytest.raises(ConfigError, match="no labels"):
        collect_persons([ImageSource(marker_set / "images")], STUDENT_SKELETON)


def test_a_detector_finds_the_persons_of_a_folder_without_labels(
    marker_set: Path, marker_detector_onnx: Path, marker_detector_spec: Path
) -> None:
    detector = open_detector(marker_detector_onnx, marker_detector_spec)
    found = collect_persons([ImageSource(marker_set / "images")], STUDENT_SKELETON, detector)
    assert len(found.persons) >= 20
    assert not any(person.labelled.any() for person in found.persons)


def test_pictures_without_anybody_are_refused(
    tmp_path: Path, marker_detector_onnx: Path, marker_detector_spec: Path
) -> None:
    from tests.support.data_folders import write_pictures

    write_pictures(tmp_path / "images", 2)
    detector = open_detector(marker_detector_onnx, marker_detector_spec)
    with pytest.raises(ConfigError, match="no person of at least 16 px"):
        collect_persons([ImageSource(tmp_path)], STUDENT_SKELETON, detector)


def test_an_unreadable_picture_is_named(
    tmp_path: Path, marker_detector_onnx: Path, marker_detector_spec: Path
) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    detector = open_detector(marker_detector_onnx, marker_detector_spec)
    with pytest.raises(ConfigError, match=r"torn\.jpg is not a readable image"):
        collect_persons([ImageSource(tmp_path)], STUDENT_SKELETON, detector)


def test_an_unreadable_labelled_picture_is_named_when_samples_are_made(tmp_path: Path) -> None:
    folder = write_marker_set(tmp_path / "set", count=2, seed=5)
    torn = sorted((folder / "images").iterdir())[1]
    torn.write_bytes(torn.read_bytes()[:100])
    data = collect_persons([ImageSource(folder)], STUDENT_SKELETON)
    with pytest.raises(ConfigError, match=f"{torn.name} is not a readable image"):
        open_cache(tmp_path / "cache", data, student_named("edgepose-n"), None)
    assert not list((tmp_path / "cache").glob("*/complete"))


def test_an_unknown_student_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match=", ".join(STUDENTS)):
        student_named("resnet")


def test_a_teacher_without_the_students_keypoints_is_refused(marker_onnx: Path, tmp_path: Path) -> None:
    spec = tmp_path / "cat.toml"
    spec.write_text(
        """
name = "cat"
version = "1"
paradigm = "top_down"
licence = "Apache-2.0"
source = "test"
[skeleton]
keypoint_names = ["nose", "tail"]
edges = [[0, 1]]
flip_pairs = []
oks_sigmas = [0.1, 0.1]
[input]
width_px = 96
height_px = 128
layout = "NCHW"
color_order = "RGB"
resize = "crop"
[codec]
kind = "heatmap"
"""
    )
    with pytest.raises(ConfigError, match=r"without left_eye.*learns 'coco17'"):
        open_teacher(marker_onnx, STUDENT_SKELETON, spec)


def test_a_heatmap_teachers_picture_and_mirror_image_agree_to_a_part_of_a_cell(
    marker_onnx: Path, marker_spec: Path
) -> None:
    teacher = open_teacher(marker_onnx, STUDENT_SKELETON, marker_spec)
    assert isinstance(teacher, HeatmapTeacher)
    scene = marker_scene(3)
    view = teacher.look(scene.image, scene.boxes_xyxy_px[0])
    # The marker model knows colours, which do not change sides in a mirror: only the nose has no other side.
    cell_px = 1 / view.to_cells.scale_xy[0]
    assert abs(view.keypoints_px[0] - scene.keypoints_px[0][0]).max() < 0.1 * cell_px
    assert view.scores[0] > 0.9
    assert view.maps.shape == (17, teacher.map_wh[1], teacher.map_wh[0])
    assert teacher.sha256 == sha256_of_file(marker_onnx)


def test_a_teacher_without_heatmaps_gives_gaussians_at_its_keypoints(
    marker_simcc_onnx: Path, marker_simcc_spec: Path
) -> None:
    teacher = open_teacher(marker_simcc_onnx, STUDENT_SKELETON, marker_simcc_spec)
    assert isinstance(teacher, CoordinateTeacher)
    scene = marker_scene(3)
    view = teacher.look(scene.image, scene.boxes_xyxy_px[0])
    assert abs(view.keypoints_px - scene.keypoints_px[0]).max() < 2.5
    rows, columns = divmod(int(view.maps[9].argmax()), view.maps.shape[2])
    assert abs(view.to_cells.to_input(view.keypoints_px[9]) - (columns, rows)).max() <= 0.51
    assert view.maps[9].max() <= view.scores[9] + 1e-6


def test_mirrored_about_another_axis_picture_and_mirror_image_would_disagree(
    marker_onnx: Path, marker_spec: Path
) -> None:
    teacher = open_teacher(marker_onnx, STUDENT_SKELETON, marker_spec)
    assert isinstance(teacher, HeatmapTeacher)
    scene = marker_scene(3)
    plain = teacher._preprocessor.transform_for(scene.image, scene.boxes_xyxy_px[0])
    exact = teacher._mirrored(plain)
    # About the middle of the picture's pixels instead of the cells' grid: three quarters of a cell.
    naive = replace(exact, offset_xy=(plain.input_wh[0] - 1 - plain.offset_xy[0], plain.offset_xy[1]))
    direct = teacher._maps(scene.image, plain)[0]
    differences = [
        np.abs(teacher._maps(scene.image, view)[0, :, ::-1] - direct).max() for view in (exact, naive)
    ]
    assert differences[0] < 0.1
    assert differences[1] > 0.2


@pytest.mark.parametrize("taught", [True, False])
def test_samples_are_made_once_and_read_back(
    tmp_path: Path, marker_set: Path, marker_onnx: Path, marker_spec: Path, taught: bool
) -> None:
    data = collect_persons([ImageSource(marker_set)], STUDENT_SKELETON)
    design = student_named("edgepose-n")
    teacher = open_teacher(marker_onnx, STUDENT_SKELETON, marker_spec) if taught else None
    calls: list[tuple[int, int]] = []
    made = open_cache(tmp_path, data, design, teacher, lambda done, total: calls.append((done, total)))
    again = open_cache(tmp_path, data, design, teacher, lambda *_: pytest.fail("made twice"))
    assert calls[-1] == (24, 24)
    assert (len(made), made.has_teacher) == (24, taught)
    assert np.array_equal(made.crops, again.crops)
    batch = BatchSource(again, design, BatchSettings(4, 0)).batch(0)
    assert batch.pictures.shape == (4, 128, 96, 3)
    assert batch.targets.shape == (4, 1 + 32 * 24, 17)
    assert batch.targets[:, 1:].max() > 0.5


def test_a_full_disk_while_samples_are_made_leaves_nothing_that_looks_complete(
    tmp_path: Path, marker_set: Path
) -> None:
    data = collect_persons([ImageSource(marker_set)], STUDENT_SKELETON)
    with largest_file(100_000), pytest.raises(ConfigError, match="sample cache"):
        open_cache(tmp_path, data, student_named("edgepose-n"), None)
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk_while_samples_are_made_is_an_error_and_no_crash(
    tmp_path: Path, marker_set: Path
) -> None:
    data = collect_persons([ImageSource(marker_set)], STUDENT_SKELETON)
    with small_disk(tmp_path, "1m"):
        with pytest.raises(ConfigError, match="No space left"):
            open_cache(tmp_path, data, student_named("edgepose-n"), None)
        assert list(tmp_path.iterdir()) == []
