"""OKS against COCO's own code."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from edgepose.pose.similarity import oks_between, oks_matrix
from edgepose.pose.skeletons import COCO17

Array = NDArray[np.float64]


def published_oks(detected: Array, truth: Array, visible: NDArray[np.bool_], areas: Array) -> Array:
    """(N, M) by pycocotools' computeOks."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(None, None, "keypoints")
    evaluation._dts[1, 1] = [
        {"keypoints": np.c_[person, np.ones(17)].ravel().tolist(), "score": -rank}
        for rank, person in enumerate(detected)
    ]
    evaluation._gts[1, 1] = [
        {"keypoints": np.c_[person, 2 * seen].ravel().tolist(), "bbox": [0, 0, 1, 1], "area": area}
        for person, seen, area in zip(truth, visible, areas, strict=True)
    ]
    return np.asarray(evaluation.computeOks(1, 1))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), persons=st.integers(1, 4), spread_px=st.sampled_from([0.0, 3, 30, 900])
)
def test_oks_equals_pycocotools_for_any_persons(seed: int, persons: int, spread_px: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.uniform(0, 640, (persons, 17, 2))
    detected = truth[random.permutation(persons)] + random.normal(0, spread_px + 1e-9, (persons, 17, 2))
    visible = random.random((persons, 17)) < 0.6
    visible[:, 0] = True  # a person without a labelled keypoint is COCO's special case, tested below
    areas = random.uniform(1, 1e5, persons)
    expected = published_oks(detected, truth, visible, areas)
    np.testing.assert_allclose(
        oks_matrix(detected, truth, visible, areas, COCO17.sigmas), expected, rtol=1e-9, atol=1e-12
    )


def test_the_comparison_with_pycocotools_notices_a_wrong_sigma() -> None:
    truth = np.zeros((1, 17, 2))
    detected = truth + 4.0
    visible, areas = np.ones((1, 17), bool), np.array([2500.0])
    wrong = oks_matrix(detected, truth, visible, areas, COCO17.sigmas * 1.05)
    assert abs(wrong - published_oks(detected, truth, visible, areas)).max() > 1e-3


def test_a_person_without_labelled_keypoint_matches_nothing() -> None:
    truth = np.zeros((1, 17, 2))
    assert oks_matrix(truth, truth, np.zeros((1, 17), bool), np.array([100.0]), COCO17.sigmas) == 0


@pytest.mark.parametrize(("area_px2", "expected"), [(0.0, 1.0), (100.0, 1.0)])
def test_equal_poses_have_oks_one_whatever_the_area(area_px2: float, expected: float) -> None:
    pose = np.arange(34.0).reshape(17, 2)
    assert oks_between(pose, pose, area_px2, COCO17.sigmas) == expected


def test_an_area_of_zero_gives_zero_and_no_warning_for_a_distant_pose() -> None:
    pose = np.arange(34.0).reshape(17, 2)
    assert oks_between(pose, pose + 1, 0.0, COCO17.sigmas) == 0


def test_nobody_against_nobody_is_an_empty_matrix() -> None:
    nobody = np.zeros((0, 17, 2))
    found = oks_matrix(nobody, nobody, np.zeros((0, 17), bool), np.zeros(0), COCO17.sigmas)
    assert found.shape == (0, 0)
