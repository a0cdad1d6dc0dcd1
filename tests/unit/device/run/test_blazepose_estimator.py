"""BlazePose as a whole, on generated models: when the detector looks, what is followed, what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgepose.device.run.blazepose import CROP, BlazePoseEstimator, PointFilter
from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.run.frame_estimator import FrameEstimator, PoseEstimator
from edgepose.errors import ConfigError, ModelError
from edgepose.pose.transform import upright_crop
from edgepose.runtime.open_model import open_detector
from tests.support.blazepose_models import (
    BODY_INPUT_PX,
    HIPS_INPUT_PX,
    INPUT_PX,
    TOP_INPUT_PX,
    write_detector,
    write_landmark_model,
)
from tests.support.constant_models import write_top_down

BRIGHT, DARK = np.full((120, 200, 3), 255, np.uint8), np.zeros((120, 200, 3), np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Landmark model and detector."""
    folder = tmp_path_factory.mktemp("blazepose")
    return write_landmark_model(folder / "landmarks.onnx"), write_detector(folder / "detector.onnx")


@pytest.fixture
def estimator(models: tuple[Path, Path]) -> PoseEstimator:
    """Follows, as a video does."""
    opened = open_estimator(EstimatorChoice(model=models[0], detector=models[1]))
    opened.detect_every = 10
    return opened


def looked(estimator: PoseEstimator) -> bool:
    """Whether the detector looked at the last picture."""
    return estimator.timer.elapsed_ms("detect") > 0


def test_the_detector_looks_only_while_nobody_is_followed(estimator: PoseEstimator) -> None:
    seen = []
    for picture in (DARK, DARK, BRIGHT, BRIGHT, BRIGHT, DARK, BRIGHT, BRIGHT):
        poses = estimator.estimate(picture)
        seen.append((len(poses), looked(estimator)))
    assert seen == [
        (0, True),
        (0, True),
        (1, True),
        (1, False),
        (1, False),
        (0, False),
        (1, True),
        (1, False),
    ]


def test_pictures_by_themselves_are_each_looked_at_and_come_out_alike(estimator: PoseEstimator) -> None:
    estimator.detect_every = 1
    estimator.take_smoothing()
    first, second = estimator.estimate(BRIGHT), estimator.estimate(BRIGHT)
    assert looked(estimator)
    assert np.array_equal(first.keypoints_px, second.keypoints_px)


def test_a_followed_crop_goes_where_the_keypoints_say(estimator: PoseEstimator) -> None:
    # The model sees the hips right of and below the middle, always, so the crop keeps going there.
    centres = [estimator.estimate(BRIGHT).keypoints_px[0].mean(axis=0) for _ in range(4)]
    assert all(after[0] > before[0] for before, after in pairwise(centres))


def test_each_crop_comes_from_the_filtered_points_of_the_last(estimator: PoseEstimator) -> None:
    steady, crop = PointFilter(CROP), None
    seen = np.column_stack([BODY_INPUT_PX, np.ones(33)])
    for number in range(5):
        time_ns = number * 40_000_000
        keypoints_px = estimator.estimate(BRIGHT, time_ns).keypoints_px[0].astype(np.float64)
        if crop is not None:
            assert np.abs(crop.to_image(BODY_INPUT_PX) - keypoints_px).max() < 0.05
        # How the model's input lies in the picture, from where the body came out.
        to_image = np.linalg.lstsq(seen, keypoints_px)[0]
        hips_px, top_px = np.array([[*HIPS_INPUT_PX, 1], [*TOP_INPUT_PX, 1]]) @ to_image
        size_px = 2 * float(np.hypot(*(top_px - hips_px)))
        hips_px, top_px = steady.update(np.stack([hips_px, top_px]), size_px, time_ns)
        crop = upright_crop(tuple(hips_px), tuple(top_px), 1.25, INPUT_PX)


def test_smoothing_is_taken_over_and_steadies_from_the_second_picture_on(models: tuple[Path, Path]) -> None:
    runs = []
    for smooth in (False, True):
        estimator = open_estimator(EstimatorChoice(model=models[0], detector=models[1]))
        estimator.detect_every = 10
        assert not smooth or estimator.take_smoothing()
        runs.append([estimator.estimate(BRIGHT, 33_000_000 * k).keypoints_px for k in range(3)])
    (plain_first, plain_second, _), (first, second, _) = runs
    assert np.array_equal(plain_first, first)
    assert np.abs(second - first).max() < np.abs(plain_second - plain_first).max()


def test_without_a_time_thirty_pictures_make_a_second(models: tuple[Path, Path]) -> None:
    timed, untimed = (open_estimator(EstimatorChoice(model=models[0], detector=models[1])) for _ in range(2))
    for each in (timed, untimed):
        each.detect_every = 2
        each.take_smoothing()
    for number in range(4):
        expected = timed.estimate(BRIGHT, number * 33_333_000)
        assert np.array_equal(untimed.estimate(BRIGHT).keypoints_px, expected.keypoints_px)


def test_a_pose_carries_presence_visibility_and_the_box_of_its_keypoints(estimator: PoseEstimator) -> None:
    poses = estimator.estimate(BRIGHT)
    assert poses.scores == pytest.approx([1.0])
    assert poses.keypoint_scores == pytest.approx(np.full((1, 33), 1 / (1 + np.exp(-2))))
    assert poses.boxes_xyxy_px is not None
    assert poses.boxes_xyxy_px[0, :2].tolist() == poses.keypoints_px[0].min(axis=0).tolist()


def test_the_choice_opens_blazepose_only_with_its_own_detector(
    models: tuple[Path, Path], estimator: PoseEstimator
) -> None:
    assert isinstance(estimator, BlazePoseEstimator)
    assert isinstance(open_estimator(EstimatorChoice(model=models[0])), FrameEstimator)
    assert not open_estimator(EstimatorChoice(model=models[0])).take_smoothing()


def test_another_pose_model_behind_its_detector_is_refused_in_one_sentence(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    other = write_top_down(tmp_path / "other.onnx", np.ones((17, 2), np.int64))
    with pytest.raises(ConfigError, match="own landmark model alone, not 'always_the_same'"):
        open_estimator(EstimatorChoice(model=other, detector=models[1]))


def test_a_pose_model_in_the_place_of_the_detector_is_refused(models: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="expected a detector"):
        open_estimator(EstimatorChoice(model=models[0], detector=models[0]))


def test_its_detector_gives_no_boxes_to_anybody_else(models: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="no person boxes"):
        open_detector(models[1])


def test_a_file_that_is_no_model_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x20\0\0\0TFL3" + bytes(40))
    for choice in (
        EstimatorChoice(model=models[0], detector=broken, detector_spec=Path("blazepose_detector")),
        EstimatorChoice(model=broken, spec=Path("blazepose_full"), detector=models[1]),
    ):
        with pytest.raises(ModelError, match=r"broken\.tflite"):
            open_estimator(choice)
