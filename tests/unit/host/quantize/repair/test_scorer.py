"""The scorer of candidates: all points for the float model itself, fewer the more is damaged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgepose.errors import ModelError
from edgepose.host.data.calibration_set import CropSample, calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.quantize.repair.apply_recipe import Scorer
from edgepose.records.model_spec import ModelSpec, YoloxCodecSpec
from edgepose.runtime.open_model import open_backend
from tests.support.data_folders import labelled_folder
from tests.support.tiny_networks import tiny_spec, write_tiny_onnx, write_tiny_tflite


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> tuple[CropSample, ...]:
    folder = open_data_folder(labelled_folder(tmp_path_factory.mktemp("pictures"), 10))
    return calibration_crops(folder, 8, 0).samples


def damaged(path: Path, noise: float) -> bytes:
    """The same model with noise on its last weights."""
    model = onnx.load(path)
    stored = next(entry for entry in model.graph.initializer if entry.name == "w2")
    values = numpy_helper.to_array(stored)
    random = np.random.default_rng(0).normal(0, noise, values.shape)
    stored.CopyFrom(numpy_helper.from_array((values + random).astype(np.float32), "w2"))
    return bytes(model.SerializeToString())


def detector_spec() -> ModelSpec:
    spec = tiny_spec("NCHW")
    given = msgspec.structs.replace(spec.input, resize="letterbox")
    return msgspec.structs.replace(spec, paradigm="detector", codec=YoloxCodecSpec(), input=given)


@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
def test_float_model_scores_all_points_against_itself(
    tmp_path: Path, crops: tuple[CropSample, ...], model_format: str
) -> None:
    write = {"onnx": write_tiny_onnx, "tflite": write_tiny_tflite}[model_format]
    path = write(tmp_path / "model")
    scorer = Scorer(open_backend(path), tiny_spec("NCHW" if model_format == "onnx" else "NHWC"), crops)
    assert scorer.crops == 8
    assert scorer.score(path.read_bytes()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["pose", "detector"])
def test_more_damage_scores_less(tmp_path: Path, crops: tuple[CropSample, ...], kind: str) -> None:
    path = write_tiny_onnx(tmp_path / "model")
    scorer = Scorer(open_backend(path), detector_spec() if kind == "detector" else tiny_spec("NCHW"), crops)
    scores = [scorer.score(damaged(path, noise)) for noise in (0.0, 0.02, 0.3, 3.0)]
    assert scores[0] == pytest.approx(1.0)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
    assert scores[-1] < 0.6


def test_detector_scores_one_minus_the_relative_error(tmp_path: Path, crops: tuple[CropSample, ...]) -> None:
    path = write_tiny_onnx(tmp_path / "model")
    model = onnx.load(path)
    stored = next(entry for entry in model.graph.initializer if entry.name == "w2")
    stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored) * np.float32(0.9), "w2"))
    scorer = Scorer(open_backend(path), detector_spec(), crops)
    assert scorer.score(model.SerializeToString()) == pytest.approx(0.9, abs=1e-4)


def test_float_model_that_is_sure_of_nobody_scores_nothing(
    tmp_path: Path, crops: tuple[CropSample, ...]
) -> None:
    path = write_tiny_onnx(tmp_path / "model")
    sceptic = msgspec.structs.replace(tiny_spec("NCHW"), min_pose_score=1.0)
    assert Scorer(open_backend(path), sceptic, crops).score(path.read_bytes()) == 0.0


def test_candidate_that_does_not_load_is_refused(tmp_path: Path, crops: tuple[CropSample, ...]) -> None:
    path = write_tiny_onnx(tmp_path / "model")
    scorer = Scorer(open_backend(path), tiny_spec("NCHW"), crops)
    with pytest.raises(ModelError):
        scorer.score(path.read_bytes()[:400])
