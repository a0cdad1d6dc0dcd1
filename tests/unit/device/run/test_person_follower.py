"""Where to look next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.run.following import FollowOptions, box_to_follow
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from tests.support.pictures import persons_at

_WH = (640, 480)


def test_nobody_means_the_whole_picture() -> None:
    assert box_to_follow(Poses.empty(COCO17), _WH, FollowOptions()) is None


def test_the_box_holds_the_confident_keypoints_and_is_a_little_larger() -> None:
    poses = persons_at([(300, 240)], height_px=200)
    box = box_to_follow(poses, _WH, FollowOptions(growth=1.25))
    tight = poses.boxes_xyxy_px
    assert box is not None
    assert tight is not None
    assert (box[:2] < tight[0, :2]).all()
    assert (box[2:] > tight[0, 2:]).all()
    assert (box[2:] - box[:2]) == pytest.approx((tight[0, 2:] - tight[0, :2]) * 1.25, rel=1e-4)


def test_a_doubtful_keypoint_far_away_does_not_stretch_the_box() -> None:
    poses = persons_at([(300, 240)], height_px=200)
    strayed = poses.keypoints_px.copy()
    strayed[0, 9] = (20, 20)
    scores = poses.keypoint_scores.copy()
    doubtful = scores.copy()
    doubtful[0, 9] = 0.1
    box = box_to_follow(replace(poses, keypoints_px=strayed, keypoint_scores=doubtful), _WH, FollowOptions())
    # Negative control: the same keypoint with a good score counts.
    wide = box_to_follow(replace(poses, keypoints_px=strayed), _WH, FollowOptions())
    assert box is not None
    assert wide is not None
    assert box[0] > 200
    assert wide[0] < 50


def test_too_few_confident_keypoints_mean_the_whole_picture() -> None:
    poses = persons_at([(300, 240)])
    scores = np.zeros((1, 17), np.float32)
    scores[0, :3] = 0.9
    options = FollowOptions(min_keypoints=4)
    assert box_to_follow(replace(poses, keypoint_scores=scores), _WH, options) is None
    scores[0, 3] = 0.9
    assert box_to_follow(replace(poses, keypoint_scores=scores), _WH, options) is not None


def test_a_person_outside_the_picture_is_not_followed() -> None:
    assert box_to_follow(persons_at([(-500, -500)]), _WH, FollowOptions()) is None


def test_a_coordinate_that_is_no_number_is_not_followed() -> None:
    poses = persons_at([(300, 240)])
    broken = poses.keypoints_px.copy()
    broken[0, 0, 0] = np.nan
    assert box_to_follow(replace(poses, keypoints_px=broken), _WH, FollowOptions()) is None


@given(
    st.floats(-300, 900),
    st.floats(-300, 900),
    st.floats(0.5, 3000),
    st.lists(st.floats(0, 1, width=32), min_size=17, max_size=17),
)
def test_a_box_is_always_inside_the_picture_and_never_empty(
    x: float, y: float, height_px: float, scores: list[float]
) -> None:
    poses = replace(persons_at([(x, y)], height_px), keypoint_scores=np.array([scores], np.float32))
    box = box_to_follow(poses, _WH, FollowOptions())
    if box is None:
        return
    assert box.shape == (4,)
    assert box.dtype == np.float32
    assert (box >= 0).all()
    assert box[2] <= _WH[0]
    assert box[3] <= _WH[1]
    assert (box[2:] - box[:2]).min() >= 1
