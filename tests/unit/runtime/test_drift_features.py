"""What is measured of pictures and persons: each feature answers to its own change, and to that alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from edgepose.records.drift_record import FEATURE_NAMES
from edgepose.runtime.drift_features import FEATURES, PoseSampler, Samples, image_samples, no_samples
from tests.support.pictures import level_picture, persons_at

HEIGHT_PX = 240


def textured(size_wh: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """Detail of all sizes."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.normal(0, 18, (max(size_wh[1] // step, 2), max(size_wh[0] // step, 2), 3)), size_wh)
        for step in (1, 4, 16)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def sampled(*frames: Poses) -> Samples:
    """What the sampler finds in frames one after the other."""
    sampler, samples = PoseSampler(COCO17), no_samples()
    sampler.sample(frames[0], HEIGHT_PX, samples)
    for poses in frames[1:]:
        sampler.sample_motion(poses, samples)
    return samples


def moved(poses: Poses, keypoints_px: NDArray[np.floating]) -> Poses:
    """The same persons elsewhere, with track ids."""
    ids = np.arange(len(poses), dtype=np.int64)
    return replace(poses, keypoints_px=keypoints_px.astype(np.float32), track_ids=ids)


def test_every_feature_has_a_scale() -> None:
    assert tuple(FEATURES) == FEATURE_NAMES
    assert all(len(feature.places) > 2 for feature in FEATURES.values())


@pytest.mark.parametrize("level", [0, 51, 255])
def test_brightness_of_a_grey_picture_is_its_level(level: int) -> None:
    assert image_samples(level_picture(level))["brightness"] == pytest.approx(level / 255, abs=1e-3)


def test_blur_lowers_sharpness_and_less_contrast_does_not() -> None:
    picture = textured()
    sharp = image_samples(picture)["sharpness"]
    blurred = image_samples(np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.0), np.uint8))["sharpness"]
    flat = image_samples((picture * 0.5 + 60).astype(np.uint8))["sharpness"]
    assert blurred < sharp - 3
    assert flat == pytest.approx(sharp, abs=0.3)


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 3), (640, 2)])
def test_tiny_pictures_have_finite_features(size_wh: tuple[int, int]) -> None:
    assert all(np.isfinite(value) for value in image_samples(level_picture(7, size_wh)).values())


@pytest.mark.parametrize("degrees", [-90.0, 0.0, 45.0, 170.0])
def test_tilt_is_the_angle_that_a_person_was_turned_by(degrees: float) -> None:
    person = persons_at([(160.0, 120.0)])
    turn = cv2.getRotationMatrix2D((160.0, 120.0), -degrees, 1.0)
    points = person.keypoints_px[0] @ turn[:, :2].T + turn[:, 2]
    (tilt,) = sampled(moved(person, points[None]))["tilt"]
    assert tilt == pytest.approx(degrees, abs=0.5)


def test_half_the_size_is_one_power_of_two_less_and_changes_no_ratio() -> None:
    large, small = sampled(persons_at([(160, 120)], 120.0)), sampled(persons_at([(160, 120)], 60.0))
    assert large["scale"][0] - small["scale"][0] == pytest.approx(1.0, abs=1e-3)
    assert large["leg_ratio"] == pytest.approx(small["leg_ratio"], abs=1e-3)


def test_hidden_keypoints_are_counted_and_no_ratio_is_taken_from_them() -> None:
    person = persons_at([(160, 120)])
    scores = person.keypoint_scores.copy()
    scores[0, 13:] = 0.1
    samples = sampled(replace(person, keypoint_scores=scores))
    assert samples["visibility"] == [pytest.approx(13 / 17)]
    assert samples["leg_ratio"] == []
    assert len(samples["arm_ratio"]) == 2


def test_unrest_is_told_from_steady_movement() -> None:
    person = persons_at([(160, 120)])
    rng = np.random.default_rng(3)
    steady = [moved(person, person.keypoints_px + 5.0 * step) for step in range(3)]
    restless = [moved(person, person.keypoints_px + rng.normal(0, 5, (1, 17, 2))) for _ in range(3)]
    assert sampled(*steady)["jitter"][0] < -10
    assert sampled(*restless)["jitter"][0] > -5


def test_swapped_sides_are_seen() -> None:
    person = persons_at([(160, 120)])
    mirror = [COCO17.keypoint_names.index(_other(name)) for name in COCO17.keypoint_names]
    swapped = moved(person, person.keypoints_px[:, mirror])
    same = moved(person, person.keypoints_px)
    assert sampled(same, swapped)["swaps"] == [1.0]
    assert sampled(same, same)["swaps"] == [0.0]


def test_nobody_is_a_sample_of_persons_and_of_nothing_else() -> None:
    samples = sampled(Poses.empty(COCO17))
    assert samples["persons"] == [0.0]
    assert all(not values for name, values in samples.items() if name != "persons")


def _other(name: str) -> str:
    return name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
