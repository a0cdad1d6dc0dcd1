"""The zoo's models really find keypoints: every test of quantization and its repair stands on this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_matrix
from edgepose.runtime.open_model import open_pipeline
from tests.support.marker_models import shuffle_weights
from tests.support.marker_scene import marker_scene
from tests.support.zoo.catalogue import ZOO

ZooModel = Callable[[str], Path]


def mean_oks(model: Path, scenes: int = 8) -> float:
    """Mean OKS of the best pose per scene, on scenes that no model was fitted on."""
    pipeline = open_pipeline(model, None)
    found = []
    for seed in range(7000, 7000 + scenes):
        scene = marker_scene(seed)
        boxes = scene.boxes_xyxy_px if pipeline.spec.uses_person_boxes else None
        poses = pipeline.estimate(scene.image, boxes)
        everywhere = np.ones((1, 17), bool)
        area = np.prod(scene.boxes_xyxy_px[:, 2:] - scene.boxes_xyxy_px[:, :2], axis=1) * BOX_TO_MASK_AREA
        truth = scene.keypoints_px.astype(np.float64)
        oks = oks_matrix(poses.keypoints_px, truth, everywhere, area, poses.skeleton.sigmas)
        found.append(float(oks.max(initial=0.0)))
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_zoo_model_finds_the_keypoints_of_new_scenes(zoo_model: ZooModel, name: str) -> None:
    assert mean_oks(zoo_model(name)) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_zoo_model_with_shuffled_weights_finds_nothing(
    zoo_model: ZooModel, name: str, tmp_path: Path
) -> None:
    assert mean_oks(shuffle_weights(zoo_model(name), tmp_path / "shuffled.onnx"), 4) < 0.3


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_and_another_seed_others(zoo_model: ZooModel, tmp_path: Path) -> None:
    first = zoo_model("mobile_heatmap").read_bytes()
    assert ZOO["mobile_heatmap"].build(tmp_path / "again.onnx").read_bytes() == first
    assert ZOO["mobile_heatmap"].build(tmp_path / "other.onnx", seed=1).read_bytes() != first
