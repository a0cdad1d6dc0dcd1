"""PCK by hand: references, limits, missed persons."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.host.evaluate.figures import PCK_NAME, keypoint_figures, overall_figures
from edgepose.host.evaluate.scoring import score
from edgepose.pose.skeletons import COCO17
from tests.support.labelled_sets import dataset_of, person, poses_of, predictions_of

SHOULDER, HIP, NOSE = (COCO17.keypoint_names.index(n) for n in ("left_shoulder", "right_hip", "nose"))
ONCE = np.ones((1, 1), dtype=np.int64)


def standing() -> np.ndarray:
    """Torso of 100 px, box of 60 x 300 px, everything labelled."""
    rows = np.column_stack([np.linspace(100, 160, 17), np.linspace(100, 400, 17), np.full(17, 2.0)])
    rows[SHOULDER, :2], rows[HIP, :2] = (110, 200), (110, 300)
    return rows


def beside(distance_px: float) -> np.ndarray:
    """The same person, further right."""
    return standing() + np.array([distance_px, 0, 0])


def pck(rows: np.ndarray, shifts: dict[int, float]) -> float:
    predicted = rows[:, :2].copy()
    for keypoint, shift in shifts.items():
        predicted[keypoint, 0] += shift
    scores = score(predictions_of([poses_of([predicted], [1.0])]), dataset_of([[person(1, 1, rows)]]))
    return float(overall_figures(scores, ONCE)[PCK_NAME].values[0])


@pytest.mark.parametrize(
    ("shift", "correct", "why"),
    [
        (0.0, 17, "exact"),
        (20.0, 17, "exactly a fifth of the torso is still correct"),
        (20.5, 16, "a little more is not"),
    ],
)
def test_the_torso_is_the_reference(shift: float, correct: int, why: str) -> None:
    assert pck(standing(), {NOSE: shift}) == pytest.approx(correct / 17), why


def test_without_a_labelled_hip_the_longer_side_of_the_box_is_the_reference() -> None:
    rows = standing()
    rows[HIP, 2] = 0
    assert pck(rows, {NOSE: 59.5}) == 1.0
    assert pck(rows, {NOSE: 60.5}) == pytest.approx(15 / 16)


def test_what_is_not_labelled_does_not_count() -> None:
    rows = standing()
    rows[NOSE, 2] = 0
    assert pck(rows, {NOSE: 500.0}) == 1.0


def test_a_missed_person_is_a_miss_at_every_keypoint() -> None:
    first, second = standing(), beside(300)
    dataset = dataset_of([[person(1, 1, first), person(2, 1, second)]])
    scores = score(predictions_of([poses_of([first[:, :2]], [1.0])]), dataset)
    assert overall_figures(scores, ONCE)[PCK_NAME].values[0] == pytest.approx(0.5)
    nose = keypoint_figures(scores, ONCE)["nose"]
    assert nose[PCK_NAME].values[0] == pytest.approx(0.5)
    assert nose["oks"].values[0] == pytest.approx(0.5)
    assert nose["oks"].sample_count == 2


def test_each_person_gets_the_pose_that_resembles_it_not_the_first_one() -> None:
    first, second = standing(), beside(300)
    dataset = dataset_of([[person(1, 1, first), person(2, 1, second)]])
    scores = score(predictions_of([poses_of([second[:, :2], first[:, :2]], [0.9, 0.1])]), dataset)
    assert overall_figures(scores, ONCE)[PCK_NAME].values[0] == 1.0


def test_groups_and_unlabelled_persons_do_not_count() -> None:
    nameless = beside(300) * [1, 1, 0]
    dataset = dataset_of(
        [
            [
                person(1, 1, standing()),
                person(2, 1, nameless),
                person(3, 1, beside(50), crowd=True),
            ]
        ]
    )
    scores = score(predictions_of([poses_of([standing()[:, :2]], [1.0])]), dataset)
    assert scores.persons == 1
    assert overall_figures(scores, ONCE)[PCK_NAME].values[0] == 1.0


def test_the_mean_keypoint_oks_is_the_term_of_the_oks() -> None:
    rows = standing()
    dataset = dataset_of([[person(1, 1, rows)]])
    predicted = rows[:, :2] + [7.0, 0]
    scores = score(predictions_of([poses_of([predicted], [1.0])]), dataset)
    area, sigma = 0.53 * 60 * 300, COCO17.oks_sigmas[NOSE]
    expected = np.exp(-49 / (2 * area * (2 * sigma) ** 2))
    assert keypoint_figures(scores, ONCE)["nose"]["oks"].values[0] == pytest.approx(expected)


def test_an_unlabelled_keypoint_has_no_figure_rather_than_zero() -> None:
    rows = standing()
    rows[NOSE, 2] = 0
    scores = score(predictions_of([poses_of([rows[:, :2]], [1.0])]), dataset_of([[person(1, 1, rows)]]))
    nose = keypoint_figures(scores, ONCE)["nose"][PCK_NAME].metric()
    assert (nose.value, nose.interval_95, nose.sample_count) == (None, None, 0)
