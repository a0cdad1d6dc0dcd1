"""Keypoints against another projection, joints against limits, visibility against what stands in front."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.canvas import Light, cone_hit
from edgepose.host.synthetic.clip import IN_PLACE, posture_at
from edgepose.host.synthetic.composition import sample_figure, sample_stage
from edgepose.host.synthetic.figure import Figure, Looks, stand
from edgepose.host.synthetic.repertoire import ACTIVITIES, sample_posture
from edgepose.host.synthetic.skeleton import (
    INDEX,
    JOINT_LIMITS,
    Build,
    Vector,
    body_pose,
    sample_build,
    within_limits,
)
from edgepose.host.synthetic.stage import Stage
from edgepose.host.synthetic.style import STYLES, sample_outfit
from edgepose.host.synthetic.surfaces import Box, Solid

LEFT_ARM, LEFT_LEG = (5, 7, 9), (11, 13, 15)
ANGLES = st.floats(-720, 720)


def opencv_projection(camera: Camera, points: Vector) -> Vector:
    """OpenCV's model with the rotation built from turns about single axes."""
    yaw, pitch, roll = np.radians([camera.yaw_degrees, camera.pitch_degrees, camera.roll_degrees])
    # From the world (y up, z back) to a level camera (y down, z forward), then about its own axes.
    turns = [cv2.Rodrigues(np.array(axis))[0] for axis in ((0, -yaw, 0), (pitch, 0, 0), (0, 0, -roll))]
    turn, level = turns[2] @ turns[1] @ turns[0], np.array([1.0, -1.0, -1.0])
    # Turned here: as a rotation vector, half a turn loses half of its digits.
    seen = (points * level - level * camera.position) @ turn.T
    cx, cy = (camera.size_wh[0] - 1) / 2, (camera.size_wh[1] - 1) / 2
    inner = np.array([[camera.focal_px, 0, cx], [0, camera.focal_px, cy], [0, 0, 1]])
    found, _ = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), inner, None)
    return found[:, 0]


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-60, 60), st.floats(-40, 40), st.integers(0, 10**6))
def test_projection_is_that_of_opencv(yaw: float, pitch: float, roll: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera = Camera((320, 240), float(rng.uniform(200, 600)), rng.normal(0, 2, 3), yaw, pitch, roll)
    ahead = np.column_stack([rng.uniform(-1, 1, (17, 2)), rng.uniform(1, 9, 17)])
    points = camera.position + ahead @ camera.turn
    np.testing.assert_allclose(camera.project(points), opencv_projection(camera, points), atol=1e-4)


def test_labels_are_the_projected_joints() -> None:
    stage, figure = _empty_stage(3), _standing(3)
    scene = stage.render([figure], np.random.default_rng(0))
    expected = opencv_projection(stage.camera, figure.keypoints_m)
    np.testing.assert_allclose(scene.keypoints_px[0], expected, atol=1e-3)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(sorted(ACTIVITIES)), st.integers(0, 2**32 - 1))
def test_joints_stay_within_their_limits(name: str, seed: int) -> None:
    """Both as angles and measured on the points: knees and elbows bend one way only, and not too far."""
    rng = np.random.default_rng(seed)
    posture, build = sample_posture(rng, name), sample_build(rng, children=True)
    low, high = np.array(list(JOINT_LIMITS.values())).T
    joints = posture[[INDEX[joint] for joint in JOINT_LIMITS]]
    assert ((low <= joints) & (joints <= high)).all()
    points = body_pose(posture, build, 0.0).keypoints
    for first in (5, 6, 11, 12):
        upper, middle, lower = points[[first, first + 2, first + 4]]
        bend = _degrees(middle - upper, lower - middle)
        assert bend <= (150 if first < 11 else 135) + 1e-6
    for first, upper, lower in ((5, build.upper_arm, build.forearm), (12, build.thigh, build.shank)):
        lengths = np.linalg.norm(np.diff(points[[first, first + 2, first + 4]], axis=0), axis=1)
        np.testing.assert_allclose(lengths, [upper, lower])


def _degrees(first: Vector, second: Vector) -> float:
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@settings(max_examples=50, deadline=None)
@given(st.lists(ANGLES, min_size=len(INDEX), max_size=len(INDEX)))
def test_any_posture_is_brought_within_the_limits(angles: list[float]) -> None:
    found = within_limits(np.array(angles))
    assert all(low <= found[INDEX[joint]] <= high for joint, (low, high) in JOINT_LIMITS.items())


def test_a_knee_bends_backwards_and_an_elbow_forwards() -> None:
    posture = np.zeros(len(INDEX))
    posture[[INDEX["left_knee"], INDEX["left_elbow"]]] = 90
    pose = body_pose(posture, Build(), 0.0)
    assert pose.keypoints[15, 2] < -0.2
    assert pose.keypoints[9, 2] > 0.1
    assert abs(pose.keypoints[16, 2]) < 1e-9


@pytest.mark.parametrize("kind", ["walking", *IN_PLACE])
def test_motion_is_smooth_and_comes_round(kind: str) -> None:
    postures = np.array([posture_at(kind, cycle) for cycle in np.linspace(0, 1, 61)])  # type: ignore[arg-type]
    np.testing.assert_allclose(postures[0], postures[-1], atol=1e-6)
    assert np.abs(np.diff(postures, axis=0)).max() < 13
    assert np.ptp(postures, axis=0).max() > 20


def test_a_thing_in_front_of_a_wrist_hides_it_and_nothing_else() -> None:
    stage, figure = _empty_stage(3), _standing(3)
    free = stage.render([figure], np.random.default_rng(0))
    wrist = figure.keypoints_m[9]
    near = stage.camera.position + 0.9 * (wrist - stage.camera.position)
    box = Box(near, np.eye(3), (0.05, 0.05, 0.01), (90, 90, 90))
    hidden = replace(stage, things=(box,)).render([figure], np.random.default_rng(0))
    assert free.visibility[0, 9] == 2
    assert hidden.visibility[0, 9] == 1
    others = np.delete(np.arange(17), 9)
    np.testing.assert_array_equal(hidden.visibility[0, others], free.visibility[0, others])
    np.testing.assert_array_equal(hidden.keypoints_px, free.keypoints_px)
    # Behind the person, the same box hides nothing.
    behind = stage.camera.position + 1.3 * (wrist - stage.camera.position)
    further = replace(stage, things=(replace(box, centre=behind),)).render([figure], np.random.default_rng(0))
    np.testing.assert_array_equal(further.visibility, free.visibility)


def test_a_person_in_front_takes_area_and_keypoints_from_the_one_behind() -> None:
    stage, front, back = _empty_stage(3), _standing(3), _standing(4)
    moved = back.at(0.6 * (front.keypoints_m[11] - stage.camera.position) * (1, 0, 1))
    scene = stage.render([front, moved], np.random.default_rng(0))
    alone = stage.render([moved], np.random.default_rng(0))
    assert scene.areas_px2[1] < 0.6 * alone.areas_px2[0]
    assert (scene.visibility[1] == 2).sum() < (alone.visibility[0] == 2).sum()
    assert scene.areas_px2[0] == stage.render([front], np.random.default_rng(0)).areas_px2[0]


def test_eyes_are_hidden_from_behind_and_seen_from_the_front() -> None:
    for heading, seen in ((0.0, 2), (180.0, 1)):
        stage = _empty_stage(3)
        figure = _standing(3, heading - stage.camera.yaw_degrees)
        scene = stage.render([figure], np.random.default_rng(0))
        assert (scene.visibility[0, :3] == seen).all()


def test_a_rounded_cone_is_hit_where_its_distance_field_is_zero() -> None:
    """Oracle: the least distance to 2,001 balls along the axis."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(30):
        ends = rng.normal(0, 0.4, (2, 3)) + np.array([0, 0, 4])
        radii = rng.uniform(0.05, 0.4, 2)
        x, y = rng.uniform(-0.15, 0.15, 9), rng.uniform(-0.15, 0.15, (7, 1))
        depth, _ = cone_hit(ends, (radii[0], radii[1]), np.eye(3), (x, y))
        rays = np.stack(np.broadcast_arrays(x, y, 1.0), axis=-1)
        place = np.linspace(0, 1, 2001)[:, None]
        centres, sizes = ends[0] + place * (ends[1] - ends[0]), radii[0] + place[:, 0] * (radii[1] - radii[0])
        for ray, found in zip(rays.reshape(-1, 3), depth.ravel(), strict=True):
            along, squared = centres @ ray, (ray @ ray)
            inside = along**2 - squared * ((centres**2).sum(axis=1) - sizes**2)
            entries = (along - np.sqrt(np.maximum(inside, 0))) / squared
            nearest = np.where(inside >= 0, entries, np.inf).min()
            if np.isfinite(found) and np.isfinite(nearest):
                hits += 1
                assert abs(found - nearest) < 2e-3
            else:
                assert np.isinf(found) == np.isinf(nearest) or inside.max() < 1e-4
    assert hits > 300


def _standing(seed: int, heading: float | None = None) -> Figure:
    """Somebody with arms held aside, four metres before the camera of ``_empty_stage``."""
    rng = np.random.default_rng(seed)
    looks = Looks(Build(), replace(sample_outfit(rng), hair_style="short"))
    posture = np.zeros(len(INDEX))
    for side in ("left", "right"):
        posture[INDEX[f"{side}_shoulder_abduct"]] = 50
    camera = _camera()
    figure = stand(looks, posture, -camera.yaw_degrees if heading is None else heading, "standing")
    ahead = camera.turn[2] * (1, 0, 1)
    return figure.at(4.0 * ahead / np.linalg.norm(ahead))


def _camera() -> Camera:
    return Camera(
        (320, 240), 400.0, np.array([0.0, 1.3, 0.0]), yaw_degrees=25, pitch_degrees=6, roll_degrees=3
    )


def _empty_stage(seed: int) -> Stage:
    rng = np.random.default_rng(seed)
    stage = sample_stage(
        rng, STYLES["clear"], _camera(), [sample_figure(rng, STYLES["clear"]).at(np.zeros(3))]
    )
    nothing: tuple[Solid, ...] = ()
    light = Light(np.array([0.3, 0.9, 0.3]), 0.6, 0.4)
    return replace(stage, things=nothing, lamp=light)
