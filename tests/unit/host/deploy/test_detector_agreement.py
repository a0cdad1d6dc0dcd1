"""Two detectors on the same pictures: how many persons both find, by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import GateFailedError
from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.deploy.judgement import (
    MIN_AGREEMENT,
    BoxLoss,
    DetectorAgreement,
    box_loss,
    detector_agreement,
    require_agreement,
)
from tests.support.labelled_sets import dataset_of, person

Boxes = list[list[float]]
LEFT, RIGHT = [0.0, 0, 20, 20], [40.0, 0, 60, 20]


@dataclass
class Played:
    """Answers picture after picture; the level of grey says which one it is."""

    answers: list[Boxes]

    def detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        boxes = np.array(self.answers[int(image[0, 0, 0])], np.float32).reshape(-1, 4)
        return boxes, np.ones(len(boxes), np.float32)


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), np.full((60, 80, 3), index, np.uint8))
    return paths


def agreement(folder: Path, parent: list[Boxes], shipped: list[Boxes]) -> DetectorAgreement:
    return detector_agreement(Played(parent), Played(shipped), pictures(folder, len(parent)))  # type: ignore[arg-type]


def overlapping_by(iou: float) -> list[float]:
    """A box of the left one's height that overlaps it so much."""
    return [0.0, 0, 20 * iou, 20]


@pytest.mark.parametrize(
    ("parent", "shipped", "share"),
    [
        ([[LEFT, RIGHT]], [[LEFT, RIGHT]], 1.0),
        ([[LEFT, RIGHT]], [[LEFT]], 2 / 3),
        ([[LEFT]], [[LEFT, RIGHT]], 2 / 3),
        ([[LEFT]], [[RIGHT]], 0.0),
        ([[LEFT]], [[]], 0.0),
        ([[], [LEFT]], [[RIGHT], [LEFT]], 2 / 3),
        ([[LEFT], [LEFT, RIGHT], []], [[LEFT], [RIGHT], []], 4 / 5),
        ([[LEFT]], [[overlapping_by(0.71)]], 1.0),
        ([[LEFT]], [[overlapping_by(0.69)]], 0.0),
    ],
)
def test_the_share_is_that_of_persons_that_both_find(
    tmp_path: Path, parent: list[Boxes], shipped: list[Boxes], share: float
) -> None:
    found = agreement(tmp_path, parent, shipped)
    assert found.share == pytest.approx(share)
    assert found.parent_boxes == sum(map(len, parent))
    assert found.shipped_boxes == sum(map(len, shipped))
    assert found.pictures == len(parent)


def test_an_overlap_of_exactly_seven_tenths_is_the_same_person(tmp_path: Path) -> None:
    # 7 x 10 of 10 x 10, in numbers that float32 holds exactly.
    assert agreement(tmp_path, [[[0.0, 0, 10, 10]]], [[[0.0, 0, 10, 7]]]).share == 1.0


def test_where_the_parent_finds_nobody_nothing_can_be_judged(tmp_path: Path) -> None:
    found = agreement(tmp_path, [[], []], [[LEFT], []])
    assert found == DetectorAgreement(None, 0, 1, 2)
    with pytest.raises(GateFailedError, match="finds nobody in 2 pictures, so d cannot be judged"):
        require_agreement(found, "d")


@pytest.mark.parametrize(("share", "reached"), [(0.95, True), (0.9499, False), (1.0, True), (None, False)])
def test_nineteen_of_twenty_are_needed(share: float | None, reached: bool) -> None:
    assert MIN_AGREEMENT == 0.95
    assert DetectorAgreement(share, 20, 20, 5).reached == reached


@pytest.mark.parametrize(("shipped", "passed"), [(0.75, True), (0.7499, False), (1.5, True)])
def test_as_much_as_is_allowed_may_be_lost(shipped: float, passed: bool) -> None:
    assert BoxLoss(1.0, shipped, 0.25, 9).passed == passed


def labelled(folder: Path) -> CocoDataset:
    rows = np.array([[0.0, 0, 2], [20, 20, 2]] + [[0.0, 0, 2]] * 15)
    other = rows + np.array([40.0, 0, 0])
    (path,) = pictures(folder, 1)
    image = LabelledImage(1, path, 80, 60, (person(1, 1, rows), person(2, 1, other)))
    return replace(dataset_of([]), images=(image,))


def test_the_loss_is_box_ap_of_both_on_the_same_labels(tmp_path: Path) -> None:
    loss = box_loss(Played([[LEFT, RIGHT]]), Played([[LEFT]]), labelled(tmp_path), 0.01)  # type: ignore[arg-type]
    assert (loss.parent_ap, loss.shipped_ap) == pytest.approx((1.0, 51 / 101))
    assert (loss.allowed, loss.persons, loss.passed) == (0.01, 2, False)


def test_without_labelled_persons_both_have_none(tmp_path: Path) -> None:
    data = labelled(tmp_path)
    nobody = replace(data, images=(replace(data.images[0], persons=()),))
    loss = box_loss(Played([[LEFT]]), Played([[LEFT]]), nobody, 0.01)  # type: ignore[arg-type]
    assert (loss.parent_ap, loss.shipped_ap, loss.persons) == (0.0, 0.0, 0)
