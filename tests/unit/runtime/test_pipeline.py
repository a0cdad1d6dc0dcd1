"""From a picture to poses in image pixels, on models whose answer is known in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError, ModelError
from edgepose.records.model_spec import BlazePoseDetectorCodecSpec, find_spec, shipped_spec_paths
from edgepose.runtime.open_model import open_detector, open_pipeline
from edgepose.runtime.pipeline import STAGES, StageTimer, confident, detector_codec, keypoint_codec
from tests.support.constant_models import write_one_stage, write_top_down

IMAGE = np.zeros((100, 200, 3), np.uint8)
PEAKS = np.full((17, 2), 8)  # the middle of a 16 x 16 map: the middle of the box


def test_keypoints_of_each_box_lie_in_that_box(tmp_path: Path) -> None:
    pipeline = open_pipeline(write_top_down(tmp_path / "m", PEAKS))
    boxes = np.array([[10, 20, 50, 60], [100, 0, 140, 80]])
    poses = pipeline.estimate(IMAGE, boxes)
    np.testing.assert_allclose(poses.keypoints_px[:, 0], [[30, 40], [120, 40]], atol=1e-4)
    np.testing.assert_array_equal(poses.boxes_xyxy_px, boxes)
    np.testing.assert_allclose(poses.scores, 0.9)


def test_detector_scores_multiply_the_pose_scores_and_leave_the_keypoints(tmp_path: Path) -> None:
    pipeline = open_pipeline(write_top_down(tmp_path / "m", PEAKS))
    poses = pipeline.estimate(IMAGE, np.array([[10, 20, 50, 60]]), np.array([0.5]))
    np.testing.assert_allclose(poses.scores, 0.45)
    np.testing.assert_allclose(poses.keypoint_scores, 0.9)
    assert poses.scores.dtype == np.float32


def test_without_a_box_the_whole_picture_is_the_box(tmp_path: Path) -> None:
    poses = open_pipeline(write_top_down(tmp_path / "m", PEAKS)).estimate(IMAGE)
    np.testing.assert_allclose(poses.keypoints_px[0, 0], (100, 50), atol=1e-4)
    np.testing.assert_array_equal(poses.boxes_xyxy_px, [[0, 0, 200, 100]])


def test_no_boxes_are_nobody(tmp_path: Path) -> None:
    poses = open_pipeline(write_top_down(tmp_path / "m", PEAKS)).estimate(IMAGE, np.zeros((0, 4)))
    assert len(poses) == 0
    assert poses.keypoints_px.shape == (0, 17, 2)
    assert len(confident(poses, 0.2)) == 0


@pytest.mark.parametrize(("height", "kept"), [(0.19, 0), (0.21, 1)])
def test_only_poses_of_enough_confidence_are_reported(tmp_path: Path, height: float, kept: int) -> None:
    poses = open_pipeline(write_top_down(tmp_path / "m", PEAKS, np.full(17, height))).estimate(IMAGE)
    assert len(poses) == 1, "the pipeline itself filters nothing"
    assert len(confident(poses, 0.2)) == kept


def persons() -> list[np.ndarray]:
    corner = np.linspace((4, 20), (24, 44), 17)
    return [corner, corner + np.array((36, 0))]


def test_a_one_stage_model_ignores_boxes_and_undoes_the_letterbox(tmp_path: Path) -> None:
    # 200x100 into 64x64: scale 0.32, 16 rows of padding above.
    pipeline = open_pipeline(write_one_stage(tmp_path / "m", persons(), [0.9, 0.6]))
    poses = pipeline.estimate(IMAGE, np.array([[0, 0, 1, 1]]))
    expected = (np.stack(persons()) - (0, 16)) / 0.32
    np.testing.assert_allclose(poses.keypoints_px, expected, atol=1e-3)
    assert poses.boxes_xyxy_px is not None
    np.testing.assert_allclose(poses.boxes_xyxy_px[0, :2], expected[0].min(axis=0), atol=1e-3)


@pytest.mark.parametrize(("threshold", "found"), [(None, 1), (0.001, 2)])
def test_evaluation_may_keep_weak_persons(tmp_path: Path, threshold: float | None, found: int) -> None:
    path = write_one_stage(tmp_path / "m", persons(), [0.9, 0.1])
    assert len(open_pipeline(path, score_threshold=threshold).estimate(IMAGE)) == found


def test_nan_in_the_model_is_a_model_error(tmp_path: Path) -> None:
    path = write_top_down(tmp_path / "m", PEAKS, np.full(17, np.nan))
    with pytest.raises(ModelError, match="NaN"):
        open_pipeline(path).estimate(IMAGE)


def test_a_detector_is_no_pose_model_and_a_pose_model_no_detector(tmp_path: Path) -> None:
    path = write_top_down(tmp_path / "m", PEAKS)
    with pytest.raises(ConfigError, match="expected a detector"):
        open_detector(path)
    with pytest.raises(ConfigError):
        keypoint_codec(find_spec(Path("yolox_nano")))


@pytest.mark.parametrize("name", shipped_spec_paths())
def test_every_ready_spec_has_its_codec(name: str) -> None:
    spec = find_spec(Path(name))
    if isinstance(spec.codec, BlazePoseDetectorCodecSpec):
        with pytest.raises(ConfigError, match="no person boxes"):
            detector_codec(spec)
    elif spec.paradigm == "detector":
        assert detector_codec(spec, 0.1).score_threshold == 0.1
    else:
        assert callable(keypoint_codec(spec).decode)


def test_the_stages_of_a_frame_are_timed(tmp_path: Path) -> None:
    pipeline = open_pipeline(write_top_down(tmp_path / "m", PEAKS))
    pipeline.timer.reset()
    pipeline.estimate(IMAGE)
    assert all(pipeline.timer.elapsed_ns[stage] > 0 for stage in ("preprocess", "infer", "decode"))
    pipeline.timer.reset()
    assert set(pipeline.timer.elapsed_ns.values()) == {0}


def test_time_counts_also_when_a_stage_fails() -> None:
    timer = StageTimer()
    with pytest.raises(ZeroDivisionError), timer.measure("infer"):
        _ = 1 / 0
    assert timer.elapsed_ms("infer") > 0
    assert set(timer.elapsed_ns) == set(STAGES)
