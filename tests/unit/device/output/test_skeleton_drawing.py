"""Drawn near the keypoints, on a copy, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.output.video_sink import LEFT, MIDDLE, RIGHT, draw_poses, limb_colour, side_colour
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from tests.support.pictures import level_picture, persons_at

_WH = (320, 240)


def test_only_the_copy_changes() -> None:
    picture = level_picture(90, _WH)
    drawn = draw_poses(picture, persons_at([(160, 120)]))
    assert (picture == 90).all()
    assert (drawn != 90).any()
    assert drawn.shape == picture.shape


def test_a_read_only_picture_can_be_drawn_on() -> None:
    picture = level_picture(90, _WH)
    picture.flags.writeable = False
    assert (draw_poses(picture, persons_at([(160, 120)])) != 90).any()


def test_every_keypoint_has_its_sides_colour() -> None:
    poses = persons_at([(160, 120)], height_px=200)
    drawn = draw_poses(level_picture(90, _WH), poses)
    for index in (9, 10, 15, 16):
        x, y = poses.keypoints_px[0, index].round().astype(int)
        assert tuple(drawn[y, x]) == side_colour(COCO17.keypoint_names[index])


def test_nothing_is_drawn_far_from_the_person() -> None:
    drawn = draw_poses(level_picture(90, _WH), persons_at([(80, 120)], height_px=100))
    assert (drawn[:, 140:] == 90).all()
    assert (drawn[185:] == 90).all()


def test_nobody_changes_nothing() -> None:
    assert (draw_poses(level_picture(90, _WH), Poses.empty(COCO17)) == 90).all()


def test_doubtful_keypoints_are_not_drawn() -> None:
    poses = persons_at([(160, 120)], score=0.1)
    assert (draw_poses(level_picture(90, _WH), poses) == 90).all()
    # Negative control: they are with a lower bar.
    assert (draw_poses(level_picture(90, _WH), poses, min_keypoint_score=0.05) != 90).any()


def test_the_track_id_is_drawn() -> None:
    poses = persons_at([(160, 120)])
    plain = draw_poses(level_picture(90, _WH), poses)
    named = draw_poses(level_picture(90, _WH), replace(poses, track_ids=np.array([7])))
    assert (plain != named).any()


def test_limbs_are_coloured_by_side() -> None:
    names = COCO17.keypoint_names
    left, right = names.index("left_knee"), names.index("right_knee")
    assert limb_colour(COCO17, left, names.index("left_ankle")) == LEFT
    assert limb_colour(COCO17, right, names.index("right_ankle")) == RIGHT
    assert limb_colour(COCO17, names.index("left_hip"), names.index("right_hip")) == MIDDLE


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_coordinates_anywhere_do_not_break_the_drawing(x: float, y: float, height_px: float) -> None:
    poses = replace(persons_at([(x, y)], height_px), track_ids=np.array([12]))
    assert draw_poses(level_picture(90, (64, 48)), poses).shape == (48, 64, 3)
