"""Slices hold the right persons and ignore everybody else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, LabelledImage, LabelledPerson
from edgepose.host.evaluate.average_precision import MatchTable, precision_figures
from edgepose.host.evaluate.predictions import Predictions
from edgepose.host.evaluate.scoring import score
from edgepose.host.evaluate.slices import slice_membership
from edgepose.pose.skeletons import COCO17
from tests.support.labelled_sets import dataset_of, person, poses_of, predictions_of

WIDTH, HEIGHT = 640, 480


def rows(left: float, top: float, width: float, height: float, visible: int = 17) -> np.ndarray:
    points = np.column_stack([np.linspace(left, left + width, 17), np.linspace(top, top + height, 17)])
    return np.column_stack([points, np.where(np.arange(17) < visible, 2, 1)])


def picture_set(folder: Path, picture: np.ndarray, persons: list[LabelledPerson]) -> CocoDataset:
    path = folder / "1.png"
    cv2.imwrite(str(path), picture)
    image = LabelledImage(1, path, WIDTH, HEIGHT, tuple(persons))
    return CocoDataset((image,), COCO17.keypoint_names, 0, 0, "0" * 64)


def names_of(dataset: CocoDataset, index: int) -> set[str]:
    return {name for name, masks in slice_membership(dataset).items() if masks[0][index]}


def test_persons_land_in_the_slices_of_what_they_are(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 2, (HEIGHT // 8, WIDTH // 8)).astype(np.uint8) * 255
    picture = np.repeat(coarse.repeat(8, axis=0).repeat(8, axis=1)[..., None], 3, axis=2)
    picture[:, :320] = 0
    persons = [
        person(1, 1, rows(10, 10, 40, 40)),
        person(2, 1, rows(20, 20, 40, 40, visible=3)),
        person(3, 1, rows(400, 100, 200, 300, visible=8)),
    ]
    dataset = picture_set(tmp_path, picture, persons)
    assert names_of(dataset, 0) == {
        "size_small",
        "keypoints_most",
        "crowding_crowded",
        "brightness_dark",
        "blur_blurred",
    }
    assert "keypoints_few" in names_of(dataset, 1)
    assert names_of(dataset, 2) == {
        "size_large",
        "keypoints_some",
        "crowding_alone",
        "brightness_bright",
        "blur_sharp",
    }


def test_everybody_is_in_exactly_one_slice_of_each_kind(tmp_path: Path) -> None:
    persons = [person(i, 1, rows(40 * i, 10 * i, 20 * i + 1, 30 * i + 1, visible=i)) for i in range(1, 10)]
    persons.append(person(10, 1, rows(700, 500, 30, 30)))
    dataset = picture_set(tmp_path, np.full((HEIGHT, WIDTH, 3), 90, np.uint8), persons)
    membership = slice_membership(dataset)
    for kind in ("size", "keypoints", "crowding", "brightness", "blur"):
        counts = sum(masks[0].astype(int) for name, masks in membership.items() if name.startswith(kind))
        assert np.all(counts == 1)


def test_a_picture_of_another_size_than_its_labels_is_refused(tmp_path: Path) -> None:
    dataset = picture_set(tmp_path, np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8), [])
    with pytest.raises(ConfigError, match="641 x 480"):
        slice_membership(dataset)


def ap(table: MatchTable) -> float:
    return float(precision_figures(table, np.ones((1, 1), dtype=np.int64)).oks_ap[0])


def two_persons() -> tuple[CocoDataset, np.ndarray, np.ndarray]:
    first, second = rows(10, 10, 60, 100), rows(300, 100, 60, 100)
    return dataset_of([[person(1, 1, first), person(2, 1, second)]]), first[:, :2], second[:, :2]


def test_a_slice_is_not_charged_for_what_happens_outside_it() -> None:
    dataset, first, second = two_persons()
    predictions = predictions_of([poses_of([second + 40, first], [0.9, 0.5])])
    membership = {"left": [np.array([True, False])], "right": [np.array([False, True])]}
    scores = score(predictions, dataset, membership)
    assert ap(scores.slices["left"].matches) == pytest.approx(1.0)
    assert ap(scores.slices["right"].matches) == 0.0
    assert 0.0 < ap(scores.matches) < 1.0
    assert [scores.slices[name].persons for name in ("left", "right")] == [1, 1]


def test_a_wrong_detection_on_a_person_of_the_slice_is_charged_to_it() -> None:
    dataset, first, _ = two_persons()
    predictions = predictions_of([poses_of([first + 40, first], [0.9, 0.5])])
    scores = score(predictions, dataset, {"left": [np.array([True, False])]})
    assert ap(scores.slices["left"].matches) == pytest.approx(0.5)


def test_a_detection_of_nobody_belongs_to_no_slice() -> None:
    dataset, first, _ = two_persons()
    predictions = predictions_of([poses_of([first + 1000, first], [0.9, 0.5])])
    scores = score(predictions, dataset, {"left": [np.array([True, False])]})
    assert ap(scores.slices["left"].matches) == pytest.approx(1.0)
    assert ap(scores.matches) < 0.5


def test_a_pose_cut_from_a_labelled_box_belongs_to_its_person_wherever_it_lies() -> None:
    dataset, _, second = two_persons()
    poses = poses_of([second, second], [0.9, 0.5])
    cut = Predictions(COCO17, (poses,), (np.array([0, 1], dtype=np.intp),), "labels")
    scores = score(cut, dataset, {"left": [np.array([True, False])]})
    assert ap(scores.slices["left"].matches) == 0.0


def test_the_slice_of_everybody_equals_the_whole() -> None:
    dataset, first, second = two_persons()
    poses = poses_of([first + 3, second + 4], [0.3, 0.5])
    cut = Predictions(COCO17, (poses,), (np.array([0, 1], dtype=np.intp),), "labels")
    scores = score(cut, dataset, {"all": [np.array([True, True])]})
    assert ap(scores.slices["all"].matches) == ap(scores.matches) > 0
