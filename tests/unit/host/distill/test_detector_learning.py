"""What a detector student learns from: boxes joined, views, targets, loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.distill.detector_batches import (
    BOX_WEIGHT,
    HEAT,
    HEAT_WEIGHT,
    DetectorBatches,
    packed_target,
    random_view,
    visible_boxes,
)
from edgepose.host.distill.detector_images import DETECTORS, collect_pictures, open_pictures
from edgepose.host.distill.persons import ImageSource
from edgepose.pose.codecs.center import CenterCodec

DESIGN = DETECTORS["edgepose-d"]
CODEC = CenterCodec(DESIGN.input_wh)


class Seer:
    """A teacher that sees what it is told to."""

    def __init__(self, boxes: list[tuple[float, ...]], scores: list[float]) -> None:
        self._answer = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)

    def detect(self, _image: object) -> tuple[np.ndarray, np.ndarray]:
        return self._answer


@pytest.fixture(name="one")
def _one(tmp_path: Path) -> ImageSource:
    """One picture with one labelled person at (40, 30, 80, 110)."""
    import json

    import cv2

    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((120, 160, 3), 90, np.uint8))
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [40, 30, 40, 80], "area": 2000, "iscrowd": 0}
    person |= {"keypoints": [50, 50, 2] * 17, "num_keypoints": 17}
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 160, "height": 120}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": _names(), "skeleton": []}],
    }
    (tmp_path / "person_keypoints.json").write_text(json.dumps(labels))
    return ImageSource(tmp_path)


def _names() -> list[str]:
    from edgepose.pose.skeletons import COCO17

    return list(COCO17.keypoint_names)


@pytest.mark.parametrize(
    ("seen", "score", "persons", "unsure", "why"),
    [
        ([42, 31, 81, 112], 0.9, [[40, 30, 80, 110]], [], "the label of the same person stays"),
        ([35, 20, 95, 118], 0.9, [[35, 20, 95, 118]], [], "a keypoint box gives way"),
        ([100, 30, 140, 110], 0.9, [[40, 30, 80, 110], [100, 30, 140, 110]], [], "an unlabelled one joins"),
        ([100, 30, 140, 110], 0.35, [[40, 30, 80, 110]], [[100, 30, 140, 110]], "unsure: nothing"),
        ([60, 60, 160, 120], 0.9, [[40, 30, 80, 110], [60, 60, 160, 120]], [], "a neighbour"),
    ],
)  # fmt: skip
def test_labels_and_teacher_are_joined(
    one: ImageSource, seen: list[float], score: float, persons: list[object], unsure: list[object], why: str
) -> None:
    (picture,) = collect_pictures((one,), Seer([tuple(seen)], [score])).pictures
    assert picture.boxes_px.tolist() == persons, why
    assert picture.unsure_px.tolist() == unsure, why


def test_a_folder_of_nobody_is_refused_and_one_without_labels_needs_a_teacher(one: ImageSource) -> None:
    bare = ImageSource(one.images_dir)
    with pytest.raises(ConfigError, match="Nobody is in the 1 pictures"):
        collect_pictures((bare,), Seer([], []))
    with pytest.raises(ConfigError, match="no labels and there is no teacher"):
        collect_pictures((bare,), None)


@pytest.mark.parametrize("seed", range(8))
def test_a_view_moves_boxes_as_it_moves_the_picture(seed: int, tmp_path: Path) -> None:
    """A bright block is found again exactly where its box says."""
    import cv2

    from edgepose.host.distill.detector_images import TeachingPicture, TeachingPictures

    image = np.zeros((300, 400, 3), np.uint8)
    box = np.array([[150.0, 100.0, 230.0, 220.0]])
    image[100:220, 150:230] = 255
    cv2.imwrite(str(tmp_path / "block.png"), image)
    data = TeachingPictures((TeachingPicture(tmp_path / "block.png", box, np.zeros((0, 4)), 0),), "d")
    cache = open_pictures(tmp_path / "cache", data, DESIGN)
    view = random_view(400, 300, DESIGN.input_wh, np.random.default_rng(seed))
    seen = DetectorBatches(cache, data, DESIGN, 1, 0)._seen(0, view)[..., 0]
    expected = np.clip(view.boxes(box)[0], 0, 192)
    # Area under the edge gives the border with a part of a pixel; the block is white on black and grey 114.
    rows, columns = np.nonzero(seen > 190)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert np.abs(found - expected).max() < 1.3
    shifted = expected + 3
    assert np.abs(found - shifted).max() > 1.3, "another box would not be noticed"


def test_boxes_at_the_border_are_cut_or_set_aside() -> None:
    boxes = np.array([[10.0, 10, 60, 110], [-30, 20, 30, 120], [-90, 20, 10, 120], [250, 0, 300, 50]])
    inside, cut = visible_boxes(boxes, (192, 192))
    assert inside.tolist() == [[10, 10, 60, 110], [0, 20, 30, 120]]
    assert cut.tolist() == [[0, 20, 10, 120]]


def test_targets_name_one_cell_a_person_and_decode_to_the_boxes() -> None:
    boxes = np.array([[10.0, 10, 60, 110], [100, 40, 130, 100], [104, 60, 150, 180]])
    target = packed_target(boxes, np.array([[160.0, 0, 192, 40]]), CODEC, DESIGN.map_wh)
    grid = target.reshape(24, 24, 7)
    assert np.count_nonzero(grid[..., HEAT] == 1) == 3
    assert grid[2, 21, HEAT_WEIGHT] == 0
    assert grid[12, 12, HEAT_WEIGHT] == 1
    assert 3 < np.count_nonzero(grid[..., BOX_WEIGHT]) < 60
    maps = np.concatenate([np.where(grid[..., :1] == 1, 1.5, -1.5), grid[..., 3:]], axis=-1)[None]
    found, _ = CODEC.decode_boxes({"maps": maps.astype(np.float32)})
    assert sorted(found.round(2).tolist()) == sorted(boxes.tolist())


def test_a_person_inside_a_group_still_counts_at_its_own_cell() -> None:
    target = packed_target(
        np.array([[60.0, 60, 100, 160]]), np.array([[0.0, 0, 192, 192]]), CODEC, DESIGN.map_wh
    ).reshape(24, 24, 7)
    assert target[..., HEAT_WEIGHT].sum() == 1
    assert target[13, 10, HEAT] == 1


def test_the_loss_is_least_at_the_target_and_deaf_to_what_is_unsure() -> None:
    from edgepose.host.distill.detector_batches import center_loss

    boxes = np.array([[10.0, 10, 60, 110], [100, 40, 130, 100]])
    target = packed_target(boxes, np.array([[150.0, 0, 192, 60]]), CODEC, DESIGN.map_wh)
    grid = target.reshape(24, 24, 7)
    right = np.concatenate([np.where(grid[..., :1] == 1, 1.5, -1.5), grid[..., 3:]], axis=-1)
    least = float(center_loss(target[None], right[None].astype(np.float32)))

    def loss_with(change: tuple[int, int, int], by: float) -> float:
        other = right.copy()
        other[change] += by
        return float(center_loss(target[None], other[None].astype(np.float32)))

    row, column = np.argwhere(grid[..., HEAT] == 1)[0]
    assert loss_with((row, column, 0), -2.5) > least + 0.1
    assert loss_with((row, column, 3), 0.3) > least + 0.005
    assert loss_with((20, 3, 0), 2.0) > least + 0.1
    assert loss_with((3, 20, 0), 2.0) == pytest.approx(least)
    assert loss_with((20, 3, 2), 5.0) == pytest.approx(least)


def test_a_batch_is_a_function_of_seed_and_step(tmp_path: Path, marker_set: Path) -> None:
    data = collect_pictures((ImageSource(marker_set),), None)
    cache = open_pictures(tmp_path, data, DESIGN)
    first, again = (DetectorBatches(cache, data, DESIGN, 4, 7).batch(5) for _ in range(2))
    other = DetectorBatches(cache, data, DESIGN, 4, 8).batch(5)
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.pictures, other.pictures)
