"""Golden poses: recorded from the parent, refused for anything that is not it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from edgepose.errors import ConfigError, GateFailedError
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.golden import choose_golden, golden_for, golden_from_parent, golden_image
from edgepose.pose.skeletons import COCO17
from edgepose.records.lineage import GoldenPose, Lineage
from edgepose.runtime.bundle_model import GOLDEN_SCORE_THRESHOLD, golden_oks
from edgepose.runtime.open_model import open_pipeline
from edgepose.runtime.pipeline import PosePipeline
from tests.support.bundled_models import MatchedFilters
from tests.support.constant_models import write_one_stage


@pytest.fixture(scope="module", name="parent")
def _parent(tmp_path_factory: pytest.TempPathFactory) -> PosePipeline:
    return open_pipeline(MatchedFilters().write(tmp_path_factory.mktemp("parent") / "model.onnx"))


@pytest.fixture(scope="module", name="poses")
def _poses(parent: PosePipeline) -> tuple[GoldenPose, ...]:
    return golden_from_parent(parent)


def test_the_same_model_gives_the_same_golden_poses(
    parent: PosePipeline, poses: tuple[GoldenPose, ...]
) -> None:
    assert golden_from_parent(parent) == poses
    assert len(poses) >= 4


def test_confident_poses_come_first(poses: tuple[GoldenPose, ...]) -> None:
    scores = [np.mean([score for _, _, score in pose.keypoints]) for pose in poses]
    assert scores == sorted(scores, reverse=True)


def test_the_parent_reproduces_its_own_poses_exactly(
    parent: PosePipeline, poses: tuple[GoldenPose, ...]
) -> None:
    for pose in poses:
        assert golden_oks(parent, golden_image(pose), pose) == pytest.approx(1.0, abs=1e-6)


def test_another_models_poses_are_refused(poses: tuple[GoldenPose, ...], tmp_path: Path) -> None:
    other = open_pipeline(MatchedFilters(seed=1).write(tmp_path / "other.onnx"))
    with pytest.raises(GateFailedError, match="does not reproduce its float parent"):
        choose_golden(other, poses)


def test_a_model_stuck_on_one_pose_is_refused_even_as_its_own_parent(tmp_path: Path) -> None:
    stuck = open_pipeline(MatchedFilters(stuck=True).write(tmp_path / "stuck.onnx"))
    candidates = golden_from_parent(stuck)
    assert len(candidates) == 12
    with pytest.raises(GateFailedError, match="hardly differ"):
        choose_golden(stuck, candidates)


def test_a_picture_that_is_drawn_differently_is_refused(poses: tuple[GoldenPose, ...]) -> None:
    with pytest.raises(ConfigError, match="drawn differently"):
        golden_image(replace(poses[0], image_sha256="0" * 64))


def test_a_child_takes_its_parents_poses_and_hands_on_those_of_the_first_float_model(
    parent: PosePipeline, poses: tuple[GoldenPose, ...], tmp_path: Path
) -> None:
    model = open_artifact(MatchedFilters().write(tmp_path / "model.onnx"))
    assert golden_for(dataclasses.replace(model, lineage=None)) == poses
    without = Lineage(parents=(), tools={}, precision="float32")
    assert golden_for(dataclasses.replace(model, lineage=without)) == poses
    with_one = replace(without, golden=poses[:1])
    assert golden_for(dataclasses.replace(model, lineage=with_one)) == poses[:1]


def test_the_nearest_person_of_a_one_stage_model_counts_and_nobody_counts_nothing(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(5, 60, (17, 2))
    path = write_one_stage(tmp_path / "m.onnx", [points + 30, points], [0.9, 0.01])
    pose = GoldenPose(
        seed=0,
        image_sha256="0" * 64,
        width_px=64,
        height_px=64,
        box_xyxy_px=None,
        area_px2=900.0,
        keypoints=tuple((float(x), float(y), 1.0) for x, y in points),
    )
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(COCO17.keypoint_names) == 17
    low = open_pipeline(path, score_threshold=GOLDEN_SCORE_THRESHOLD)
    assert golden_oks(low, image, pose) == pytest.approx(1.0, abs=1e-3)
    nobody = open_pipeline(write_one_stage(tmp_path / "n.onnx", [points], [0.0]), score_threshold=0.5)
    assert golden_oks(nobody, image, pose) == 0.0
