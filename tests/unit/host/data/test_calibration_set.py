"""The draw of calibration crops: seeded, one crop a picture first, and a part that never calibrates."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from tests.support.data_folders import labelled_folder, write_labels, write_pictures


class LeftHalf:
    """Sees the same persons in the left half of every picture."""

    def __init__(self, persons: int = 1) -> None:
        self.persons = persons

    def detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        box = np.array([[0, 0, image.shape[1] / 2, image.shape[0]]], np.float32)
        return np.repeat(box, self.persons, axis=0), np.ones(self.persons, np.float32)


def test_held_out_pictures_never_calibrate(tmp_path: Path) -> None:
    crops = calibration_crops(open_data_folder(labelled_folder(tmp_path, 20)), 100, seed=0)
    calibrating = {sample.image_sha256 for sample in crops.samples}
    held_out = {sample.image_sha256 for sample in crops.held_out}
    assert len(held_out) == 4
    assert len(calibrating) == 16
    assert not calibrating & held_out
    assert crops.record.images == 16


def test_copies_of_a_picture_stand_on_one_side_and_count_once(tmp_path: Path) -> None:
    write_pictures(tmp_path, 10)
    for number in range(10):
        shutil.copy(tmp_path / f"{number:03d}.png", tmp_path / f"copy{number}.png")
    crops = calibration_crops(open_data_folder(tmp_path), 100, seed=3)
    everything = [sample.image_sha256 for sample in (*crops.samples, *crops.held_out)]
    assert len(everything) == len(set(everything)) == 10


def test_split_depends_on_content_not_on_names(tmp_path: Path) -> None:
    first = write_pictures(tmp_path / "first", 12)
    second = tmp_path / "second"
    second.mkdir()
    for number in range(12):
        shutil.copy(first / f"{number:03d}.png", second / f"other{11 - number:02d}.png")
    drawn = [
        [s.image_sha256 for s in calibration_crops(open_data_folder(folder), 100, seed=5).samples]
        for folder in (first, second)
    ]
    assert drawn[0] == drawn[1]


def test_seed_decides_the_draw(tmp_path: Path) -> None:
    folder = open_data_folder(labelled_folder(tmp_path, 30, persons_each=3))

    def draw(seed: int) -> list[tuple[str, list[float]]]:
        crops = calibration_crops(folder, 10, seed)
        return [(s.image_sha256, s.box_xyxy_px.tolist()) for s in crops.samples if s.box_xyxy_px is not None]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_every_picture_gives_one_crop_before_any_gives_two(tmp_path: Path) -> None:
    folder = open_data_folder(labelled_folder(tmp_path, 10, persons_each=3))
    crops = calibration_crops(folder, 12, seed=0)
    assert len(crops.samples) == 12
    assert len({s.image_sha256 for s in crops.samples[:8]}) == 8
    assert len(calibration_crops(folder, 100, seed=0).samples) == 24


def test_boxes_come_from_labels_then_detector_then_whole_image(tmp_path: Path) -> None:
    labelled = open_data_folder(labelled_folder(tmp_path / "labelled", 4))
    bare = open_data_folder(write_pictures(tmp_path / "bare", 4))
    assert calibration_crops(labelled, 8, 0, LeftHalf()).boxes_from == "labels"
    from_detector = calibration_crops(bare, 8, 0, LeftHalf())
    assert from_detector.boxes_from == "detector"
    assert from_detector.samples[0].box_xyxy_px is not None
    assert from_detector.samples[0].box_xyxy_px.tolist() == [0, 0, 40, 60]
    whole = calibration_crops(bare, 8, 0)
    assert whole.boxes_from == "whole_image"
    assert whole.samples[0].box_xyxy_px is None


def test_model_of_whole_pictures_ignores_labels(tmp_path: Path) -> None:
    folder = open_data_folder(labelled_folder(tmp_path, 4, persons_each=3))
    crops = calibration_crops(folder, 100, 0, whole_images=True)
    assert crops.boxes_from == "whole_image"
    assert all(sample.box_xyxy_px is None for sample in crops.samples)
    assert crops.record.images == crops.record.crops == 3


def test_unlabelled_pictures_are_left_out_where_others_have_labels(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", 8)
    write_labels(tmp_path / "person_keypoints.json", [0, 1, 2, 3])
    crops = calibration_crops(open_data_folder(tmp_path), 100, 0)
    assert crops.distinct_images == 4


def test_detector_that_finds_nobody_is_an_error_not_a_fallback(tmp_path: Path) -> None:
    folder = open_data_folder(write_pictures(tmp_path, 6))
    with pytest.raises(ConfigError, match="boxes from detector"):
        calibration_crops(folder, 8, 0, LeftHalf(persons=0))


def test_single_picture_is_refused_because_nothing_is_left_to_check_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both are needed"):
        calibration_crops(open_data_folder(write_pictures(tmp_path, 1)), 8, 0)
