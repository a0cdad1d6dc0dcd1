"""The marker models really find marker figures, and damaged ones do not: other tests stand on this."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import EdgeposeError, ModelError
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import open_backend, open_pipeline
from tests.support.marker_models import (
    build_marker_heatmap_onnx,
    marker_model_spec,
    nan_weights,
    shuffle_weights,
    truncate,
)
from tests.support.marker_scene import MARKER_RGB, marker_scene


def request_for(data: Path, model: Path, spec: Path | None) -> EvaluationRequest:
    annotations = data / "person_keypoints.json"
    return EvaluationRequest(model=model, annotations=annotations, images=data / "images", spec_file=spec)


def accuracy(request: EvaluationRequest) -> float:
    value = evaluate_model(request).metrics["oks_ap"].value
    assert value is not None
    return value


@pytest.mark.parametrize("kind", ["marker", "marker_simcc", "marker_yolo_pose"])
@pytest.mark.parametrize("data", ["marker_set", "marker_pairs"])
def test_marker_models_find_their_figures(request: pytest.FixtureRequest, kind: str, data: str) -> None:
    model = request.getfixturevalue(f"{kind}_onnx")
    spec = request.getfixturevalue(f"{kind}_spec")
    assert accuracy(request_for(request.getfixturevalue(data), model, spec)) > 0.95


def test_detector_and_heatmap_model_find_every_figure_end_to_end(
    marker_onnx: Path, marker_spec: Path, marker_detector_onnx: Path, marker_detector_spec: Path,
    marker_pairs: Path,
) -> None:  # fmt: skip
    with_detector = replace(
        request_for(marker_pairs, marker_onnx, marker_spec),
        detector=marker_detector_onnx,
        detector_spec=marker_detector_spec,
    )
    assert accuracy(with_detector) > 0.95


def test_model_with_spec_inside_needs_no_other(marker_onnx_with_spec: Path, marker_set: Path) -> None:
    assert load_spec(marker_onnx_with_spec, None) == marker_model_spec("heatmap")
    assert accuracy(request_for(marker_set, marker_onnx_with_spec, None)) > 0.95


def test_shuffled_weights_lose_the_accuracy(
    marker_onnx: Path, marker_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    shuffled = shuffle_weights(marker_onnx, tmp_path / "shuffled.onnx")
    assert accuracy(request_for(marker_set, shuffled, marker_spec)) < 0.05


def test_nan_weights_are_refused_when_decoding(marker_onnx: Path, marker_spec: Path, tmp_path: Path) -> None:
    damaged = open_pipeline(nan_weights(marker_onnx, tmp_path / "nan.onnx"), marker_spec)
    with pytest.raises(ModelError, match="NaN"):
        damaged.estimate(marker_scene(0).image)


def test_truncated_model_is_refused_with_exit_code_5(marker_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeposeError) as refused:
        open_backend(truncate(marker_onnx, tmp_path / "half.onnx"))
    assert refused.value.exit_code == 5


def test_other_input_sizes_keep_four_pixels_a_cell(tmp_path: Path) -> None:
    model = build_marker_heatmap_onnx(tmp_path / "large.onnx", (192, 256))
    assert open_backend(model).outputs[0].shape == (1, 17, 64, 48)


def test_heatmap_cell_j_stands_for_input_pixel_4_j(marker_onnx: Path) -> None:
    backend = open_backend(marker_onnx)
    mean, std = (
        np.array(marker_model_spec("heatmap").input.mean),
        np.array(marker_model_spec("heatmap").input.std),
    )
    picture = np.full((128, 96, 3), 60.0)
    picture[62:67, 38:43] = MARKER_RGB[9]  # a square about pixel (40, 64)

    def write(tensor: np.ndarray) -> None:
        tensor[0] = ((picture - mean) / std).transpose(2, 0, 1)

    backend.load_input(write)
    backend.invoke()
    heatmap = backend.read_outputs()[0][0, 9]
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (16, 10)
    np.testing.assert_allclose(heatmap[16, 9], heatmap[16, 11], rtol=1e-4)
    np.testing.assert_allclose(heatmap[15, 10], heatmap[17, 10], rtol=1e-4)
    assert heatmap.max() > 0.5


@pytest.mark.slow
def test_keras_model_is_the_same_network(marker_keras: Path, marker_onnx: Path) -> None:
    import keras

    values = np.random.default_rng(0).normal(size=(1, 128, 96, 3)).astype(np.float32)
    backend = open_backend(marker_onnx)
    backend.load_input(lambda tensor: np.copyto(tensor, values.transpose(0, 3, 1, 2)))
    backend.invoke()
    expected = backend.read_outputs()[0].transpose(0, 2, 3, 1)
    found = np.asarray(keras.models.load_model(marker_keras)(values))
    assert expected.max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)
