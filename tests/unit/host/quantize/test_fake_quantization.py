"""One layer rounded, everything else float: in both formats what numpy says int8 would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.host.quantize.diagnosis.fake_quantization import (
    int8_scale,
    open_roundable,
    rounded_weights,
)
from edgepose.host.quantize.repair.network import Weighted, outputs_of
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import open_backend
from tests.support import tiny_models, tiny_networks

WRITERS: dict[str, Callable[[Path], Path]] = {
    "onnx": tiny_models.write_onnx,
    "tflite": tiny_models.write_tflite,
}
NETWORKS: dict[str, Callable[[Path], Path]] = {
    "onnx": tiny_networks.write_tiny_onnx,
    "tflite": tiny_networks.write_tiny_tflite,
}
PICTURE = np.random.default_rng(3).uniform(-1, 1, tiny_models.SHAPE).astype(np.float32)


def fake_quantized(model: bytes, tensor: str, low: float, high: float, *, symmetric: bool) -> bytes:
    """The model with one tensor rounded to 256 steps."""
    return open_roundable(model).changed({tensor: int8_scale(low, high, symmetric=symmetric)}, {})


def fake_quantized_weights(model: bytes, tensor: str) -> bytes:
    """The model with the stored weights of one layer rounded, one scale for each output channel."""
    float_model = open_roundable(model)
    network = float_model.network
    step = next((s for s in network.steps if isinstance(s, Weighted) and s.output == tensor), None)
    if step is None:
        raise ValueError(f"no layer with stored weights writes '{tensor}'")
    return float_model.changed({}, {step.weights: rounded_weights(network, step)})


def run(model: bytes, folder: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    path = folder / "changed"
    path.write_bytes(model)
    return run_once(open_backend(path), values)[0]


def rounded(values: NDArray[Any], low: float, high: float, *, symmetric: bool) -> NDArray[np.float64]:
    """As the TFLite quantization specification has it: 256 steps, or 255 around zero point 0; 0 is exact."""
    step = max(-low, high) / 127 if symmetric else (high - low) / 255
    zero = 0.0 if symmetric else np.round(-128 - low / step)
    steps = np.clip(np.round(values / step) + zero, -128, 127)
    return np.asarray((steps - zero) * step)


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-values)))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_inner_tensor_is_rounded_where_it_is_written(kind: str, symmetric: bool, tmp_path: Path) -> None:
    model = WRITERS[kind](tmp_path / "model").read_bytes()
    tensor = outputs_of(open_roundable(model).network.steps[1])[0]
    changed = fake_quantized(model, tensor, -1.0, 2.5, symmetric=symmetric)
    expected = sigmoid(rounded(2 * PICTURE.astype(np.float64) + 1, -1.0, 2.5, symmetric=symmetric))
    # One value may lie between two steps and fall to the other side.
    off = np.abs(run(changed, tmp_path, PICTURE) - expected)
    assert np.sort(off.ravel())[-2] < 1e-5
    exact = tiny_models.expected_output(PICTURE)
    assert np.abs(expected - exact).max() > 1e-3


@pytest.mark.parametrize("kind", WRITERS)
def test_rounded_output_keeps_its_name(kind: str, tmp_path: Path) -> None:
    model = WRITERS[kind](tmp_path / "model").read_bytes()
    backend = open_backend(tmp_path / "model")
    name = backend.outputs[0].name
    found = run(fake_quantized(model, name, 0.0, 1.0, symmetric=False), tmp_path, PICTURE)
    expected = rounded(tiny_models.expected_output(PICTURE), 0.0, 1.0, symmetric=False)
    assert np.sort(np.abs(found - expected).ravel())[-2] < 1e-6
    assert open_backend(tmp_path / "changed").outputs == backend.outputs


@pytest.mark.parametrize("kind", WRITERS)
def test_input_is_rounded_for_all_its_readers(kind: str, tmp_path: Path) -> None:
    model = WRITERS[kind](tmp_path / "model").read_bytes()
    name = open_backend(tmp_path / "model").input.name
    found = run(fake_quantized(model, name, -1.0, 1.0, symmetric=False), tmp_path, PICTURE)
    expected = sigmoid(2 * rounded(PICTURE, -1.0, 1.0, symmetric=False) + 1)
    assert np.sort(np.abs(found - expected).ravel())[-2] < 1e-5


@pytest.mark.parametrize("kind", WRITERS)
def test_unchanged_model_says_the_same(kind: str, tmp_path: Path) -> None:
    model = WRITERS[kind](tmp_path / "model").read_bytes()
    exact = run(model, tmp_path, PICTURE)
    assert np.array_equal(run(open_roundable(model).changed({}, {}), tmp_path, PICTURE), exact)


@pytest.mark.parametrize("kind", WRITERS)
def test_unknown_tensor_is_refused(kind: str, tmp_path: Path) -> None:
    model = WRITERS[kind](tmp_path / "model").read_bytes()
    with pytest.raises(ValueError, match="no tensor 'nothing'"):
        fake_quantized(model, "nothing", 0.0, 1.0, symmetric=False)
    with pytest.raises(ValueError, match="no layer with stored weights writes 'nothing'"):
        fake_quantized_weights(model, "nothing")


def test_weights_are_rounded_alike_in_both_formats(tmp_path: Path) -> None:
    matrices = {}
    for kind, write in NETWORKS.items():
        model = open_roundable(write(tmp_path / kind).read_bytes())
        steps = [step for step in model.network.steps if isinstance(step, Weighted)]
        for step in steps:
            model.network.constants[step.weights] = rounded_weights(model.network, step)
        matrices[kind] = [model.network.matrix(step) for step in steps]
    assert len(matrices["onnx"]) == 2
    for one, other in zip(*matrices.values(), strict=True):
        assert np.array_equal(one, other)
        # 255 steps for each output channel, the greatest of which is exact.
        step = np.abs(one).max(axis=(1, 2), keepdims=True) / 127
        assert np.abs(one / step - np.round(one / step)).max() < 1e-4


@pytest.mark.parametrize("kind", NETWORKS)
def test_rounded_weights_change_only_their_own_layer(kind: str, tmp_path: Path) -> None:
    model = NETWORKS[kind](tmp_path / "model").read_bytes()
    values = np.random.default_rng(1).normal(size=open_backend(tmp_path / "model").input.shape)
    exact = run(model, tmp_path, values.astype(np.float32))
    found = run(fake_quantized_weights(model, "heatmaps"), tmp_path, values.astype(np.float32))
    assert 1e-3 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    before = open_roundable(model).network.constants
    after = open_roundable(fake_quantized_weights(model, "heatmaps")).network.constants
    assert sum(not np.array_equal(after[name], before[name]) for name in before) == 1


def test_zero_is_exact_and_a_range_without_it_is_widened() -> None:
    for symmetric in (False, True):
        scale = int8_scale(2.0, 7.0, symmetric=symmetric)
        steps = scale.quantize(np.array([0.0, 7.0]))
        assert steps[0] == scale.zero_point
        assert steps[1] == 127
