"""AP and AR are those of pycocotools, an independent implementation, on anything we can think of."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgepose.host.data.coco import CocoDataset
from edgepose.host.evaluate.average_precision import precision_figures
from edgepose.host.evaluate.predictions import Predictions
from edgepose.host.evaluate.scoring import score
from edgepose.pose.skeletons import COCO17
from tests.support.labelled_sets import (
    Chances,
    coco_detections,
    coco_ground_truth,
    dataset_of,
    person,
    poses_of,
    predictions_of,
    random_set,
)

Figures = tuple[float, float, float, float]


def ours(dataset: CocoDataset, predictions: Predictions) -> Figures:
    table = score(predictions, dataset).matches
    figures = precision_figures(table, np.ones((1, len(dataset.images)), dtype=np.int64))
    names = ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar")
    return tuple(float(getattr(figures, name)[0]) for name in names)


def theirs(dataset: CocoDataset, predictions: Predictions) -> Figures:
    detections = coco_detections(dataset, predictions)
    if not detections:
        return 0.0, 0.0, 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco_ground_truth(dataset)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return tuple(float(evaluation.stats[i]) for i in (0, 1, 2, 5))


chances = st.builds(
    Chances,
    crowd=st.sampled_from([0.0, 0.2, 0.6]),
    unlabelled=st.sampled_from([0.0, 0.2, 0.6]),
    found=st.sampled_from([0.0, 0.5, 1.0]),
    ghosts=st.sampled_from([0, 3, 30]),
    score_levels=st.sampled_from([1, 3, 1000]),
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 12), chances=chances)
def test_ap_and_ar_equal_pycocotools(seed: int, images: int, chances: Chances) -> None:
    dataset, predictions = random_set(seed, images, chances)
    if dataset.scored_persons == 0:
        return
    assert_allclose(ours(dataset, predictions), theirs(dataset, predictions), rtol=0, atol=1e-9)


def test_the_oracle_comparison_sees_figures_between_nothing_and_all() -> None:
    dataset, predictions = random_set(7, 40)
    figures = ours(dataset, predictions)
    assert 0.05 < figures[0] < 0.95
    assert_allclose(figures, theirs(dataset, predictions), rtol=0, atol=1e-9)


def test_negative_control_the_oracle_notices_a_wrong_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, predictions = random_set(7, 40)
    doubled = type(COCO17)(
        COCO17.name,
        COCO17.keypoint_names,
        COCO17.edges,
        COCO17.flip_pairs,
        tuple(2 * s for s in COCO17.oks_sigmas),
    )
    monkeypatch.setattr("edgepose.host.evaluate.scoring.SKELETONS", {"coco17": doubled})
    assert abs(ours(dataset, predictions)[0] - theirs(dataset, predictions)[0]) > 0.01


def test_more_than_twenty_detections_in_a_picture_are_cut_at_twenty() -> None:
    rows = np.column_stack([np.random.default_rng(0).uniform(50, 200, (17, 2)), np.full(17, 2.0)])
    dataset = dataset_of([[person(1, 1, rows)]])
    misses = [rows[:, :2] + 1000] * 20
    predictions = predictions_of([poses_of([*misses, rows[:, :2]], [0.9] * 20 + [0.1])])
    assert ours(dataset, predictions) == (0.0, 0.0, 0.0, 0.0)
    assert theirs(dataset, predictions)[0] == 0.0
    found = predictions_of([poses_of([*misses[1:], rows[:, :2]], [0.9] * 19 + [0.1])])
    assert ours(dataset, found)[3] == 1.0
    assert_allclose(ours(dataset, found), theirs(dataset, found), rtol=0, atol=1e-9)


def test_perfect_predictions_score_one() -> None:
    dataset, _ = random_set(3, 20)
    perfect = predictions_of(
        [
            poses_of([p.keypoints_px for p in image.persons], [0.5] * len(image.persons))
            for image in dataset.images
        ]
    )
    figures = ours(dataset, perfect)
    assert_allclose(figures, theirs(dataset, perfect), rtol=0, atol=1e-9)
    assert figures[3] == 1.0
