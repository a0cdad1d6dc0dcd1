"""Weights rounded by what their inputs have in common: on the quantizer's grid, with less error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.host.models.tflite_view import read_tflite, tensor_name
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat, open_kept
from edgepose.host.quantize.repair.network import Weighted
from edgepose.host.quantize.repair.weight_rounding import (
    LARGEST_CODE,
    Moments,
    rounded_constants,
    second_moments,
    weight_steps,
)
from edgepose.host.quantize.tensor_ranges import ranges_of
from edgepose.records.lineage import RECIPES
from edgepose.runtime.activation_statistics import ChannelStatistics, collect_statistics
from tests.support.onnx_networks import Builder as OnnxBuilder
from tests.support.tflite_networks import VALID, Builder

SIZE = (1, 14, 12, 6)
KINDS = ["dense", "depthwise", "grouped", "pointwise", "transposed", "strided"]


def smooth_inputs(count: int, *, channels_first: bool, seed: int = 0) -> list[NDArray[np.float32]]:
    """Neighbours look alike, as in feature maps of pictures; the mean is not 0."""
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        coarse = np.cumsum(np.cumsum(random.normal(size=SIZE), axis=1), axis=2) / 4 + 3
        mixed = coarse @ (np.eye(SIZE[-1]) + 0.4)
        values = np.maximum(mixed, 0).astype(np.float32)
        found.append(np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if channels_first else values)
    return found


def tflite_layer(kind: str, folder: Path) -> FloatModel:
    b = Builder(4, SIZE)
    if kind == "depthwise":
        # Edges: taps that cancel.
        y = b.depthwise(b.image, 6, weights=edge_filter(b.random), padding=VALID)
    elif kind == "transposed":
        shape, weights = b.store(np.array([1, 28, 24, 5])), b.normal(5, 2, 2, 6)
        settings = {"padding": VALID, "strideH": 2, "strideW": 2}
        y = b.op("TRANSPOSE_CONV", shape, weights, b.image, b.normal(5), options="TransposeConv", **settings)
    else:
        group, size = 2 if kind == "grouped" else 1, 1 if kind == "pointwise" else 3
        stride = 2 if kind == "strided" else 1
        strides = {"strideH": stride, "strideW": stride}
        y = b.conv(b.image, 6, 8, size=size, group=group, padding=VALID, **strides)
    path = folder / "float.tflite"
    path.write_bytes(b.model(y))
    return TfliteFloat.of_file(path)


def edge_filter(random: np.random.Generator) -> NDArray[np.float32]:
    weights = random.normal(size=(1, 3, 3, 6))
    weights -= weights.mean(axis=(1, 2), keepdims=True)
    return weights.astype(np.float32)


def onnx_layer(kind: str, folder: Path) -> FloatModel:
    b = OnnxBuilder(4)
    if kind == "depthwise":
        weights = b.store(np.ascontiguousarray(edge_filter(b.random).transpose(3, 0, 1, 2)))
        y = b.op("Conv", "image", weights, b.normal(6), group=6)
    elif kind == "transposed":
        y = b.op("ConvTranspose", "image", b.normal(6, 5, 2, 2), b.normal(5), strides=[2, 2])
    else:
        group, size = 2 if kind == "grouped" else 1, 1 if kind == "pointwise" else 3
        strides = [2, 2] if kind == "strided" else [1, 1]
        weights = b.normal(8, 6 // group, size, size)
        y = b.op("Conv", "image", weights, b.normal(8), group=group, strides=strides)
    b.nodes[-1].output[0] = "heatmaps"
    graph = helper.make_graph(
        b.nodes,
        "layer",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 6, 14, 12])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, None)],
        b.stored,
    )
    assert y
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    path = folder / "float.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model, strict_mode=True), path)
    return OnnxFloat.of_file(path)


LAYERS = {"tflite": tflite_layer, "onnx": onnx_layer}


def inputs_for(model_format: str, count: int = 4, seed: int = 0) -> list[NDArray[np.float32]]:
    return smooth_inputs(count, channels_first=model_format == "onnx", seed=seed)


def moments_and_statistics(
    model: FloatModel, inputs: list[NDArray[np.float32]]
) -> tuple[dict[str, Moments], dict[str, ChannelStatistics]]:
    kept = open_kept(model)
    return second_moments(model.network, kept, inputs), collect_statistics(kept, inputs)


def outputs(model: FloatModel, inputs: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    kept, found = open_kept(model), []
    for values in inputs:
        kept.run(values)
        found.append(kept.look_at("heatmaps", np.copy))
    return np.stack(found).astype(np.float64)


def layer_of(model: FloatModel) -> Weighted:
    (step,) = (step for step in model.network.steps if isinstance(step, Weighted))
    return step


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_format", LAYERS)
def test_output_changes_less_than_with_plain_rounding(tmp_path: Path, model_format: str, kind: str) -> None:
    model, inputs = LAYERS[model_format](kind, tmp_path), inputs_for(model_format)
    moments, statistics = moments_and_statistics(model, inputs)
    exact = outputs(model, inputs)
    errors = {}
    for name, known in (("plain", {}), ("ours", moments)):
        constants = rounded_constants(model.network, known, statistics)
        errors[name] = np.square(outputs(model.with_constants(constants), inputs) - exact).mean()
    assert errors["ours"] < (0.5 if kind in {"dense", "depthwise", "strided"} else 0.9) * errors["plain"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_format", LAYERS)
def test_weights_lie_on_the_grid_of_their_own_largest_value(
    tmp_path: Path, model_format: str, kind: str
) -> None:
    model, inputs = LAYERS[model_format](kind, tmp_path), inputs_for(model_format)
    moments, statistics = moments_and_statistics(model, inputs)
    step = layer_of(model)
    assert set(moments) == {step.output}
    before = model.network.matrix(step).astype(np.float64)
    changed = model.with_constants(rounded_constants(model.network, moments, statistics)).network
    after = changed.matrix(layer_of(model)).astype(np.float64)
    codes = after / weight_steps(before)[:, None, None]
    np.testing.assert_allclose(codes, codes.round(), atol=2e-5)
    assert (np.abs(codes).max(axis=(1, 2)).round() == LARGEST_CODE).all()
    np.testing.assert_allclose(weight_steps(after), weight_steps(before), rtol=1e-6)
    # A weight moves by few steps, and one that is not the largest of its output channel never to the end.
    assert np.abs(codes - before / weight_steps(before)[:, None, None]).max() < 12
    exact_codes = before / weight_steps(before)[:, None, None]
    assert not np.allclose(exact_codes, exact_codes.round(), atol=1e-3)


def tflite_stored(data: bytes, like: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    """The int8 weights of a file as real values."""
    graph = read_tflite(data)
    tensor = next(t for t in graph.subgraphs[0].tensors if tensor_name(t).startswith(name))
    codes = np.frombuffer(graph.buffers[tensor.buffer].data.tobytes(), np.int8).reshape(like.shape)
    axis = int(tensor.quantization.quantizedDimension)
    along = [-1 if i == axis else 1 for i in range(like.ndim)]
    return np.asarray(codes * np.asarray(tensor.quantization.scale, np.float64).reshape(along))


def onnx_stored(data: bytes, like: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    model = onnx.load_from_string(data)
    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in model.graph.node:
        codes = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is not None and codes.shape == like.shape and codes.dtype == np.int8:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            along = [-1 if i == axis % like.ndim else 1 for i in range(like.ndim)]
            scale = stored[node.input[1]].astype(np.float64)
            return np.asarray(codes * (scale.reshape(along) if scale.ndim else scale))
    raise AssertionError("no int8 weights")


@pytest.mark.parametrize("kind", ["dense", "depthwise", "pointwise", "grouped"])
@pytest.mark.parametrize("model_format", LAYERS)
def test_quantizer_keeps_rounded_weights_as_they_are(tmp_path: Path, model_format: str, kind: str) -> None:
    model, inputs = LAYERS[model_format](kind, tmp_path), inputs_for(model_format)
    moments, statistics = moments_and_statistics(model, inputs)
    changed = model.with_constants(rounded_constants(model.network, moments, statistics))
    read = {"tflite": tflite_stored, "onnx": onnx_stored}[model_format]
    name = layer_of(model).weights
    left = {}
    for label, candidate in (("float", model), ("rounded", changed)):
        ranges = ranges_of(collect_statistics(open_kept(candidate), inputs), "minmax")
        data = candidate.quantized(RECIPES["static_wi8_ai8"], ranges)
        ours = candidate.network.constants[name]
        left[label] = np.abs(read(data, ours, name) - ours).max() / np.abs(ours).max()
    assert left["rounded"] < 1e-6
    assert left["float"] > 1e-3


@pytest.mark.parametrize("model_format", LAYERS)
def test_dead_inputs_and_empty_rows_survive(tmp_path: Path, model_format: str) -> None:
    model = LAYERS[model_format]("dense", tmp_path)
    step = layer_of(model)
    weights = model.network.constants[step.weights].copy()
    weights[3] = 0.0
    model = model.with_constants({step.weights: weights})
    inputs = inputs_for(model_format)
    for values in inputs:
        np.moveaxis(values, -1 if model_format == "tflite" else 1, 0)[2] = 0.0
    moments, statistics = moments_and_statistics(model, inputs)
    constants = rounded_constants(model.network, moments, statistics)
    assert all(np.isfinite(values).all() for values in constants.values())
    assert not constants[step.weights][3].any()
    exact, changed = outputs(model, inputs), outputs(model.with_constants(constants), inputs)
    assert np.abs(exact - changed).max() < 0.05 * np.abs(exact).max()
    # Nothing at all comes in:
    nothing = [np.zeros_like(values) for values in inputs]
    moments, statistics = moments_and_statistics(model, nothing)
    constants = rounded_constants(model.network, moments, statistics)
    plain = rounded_constants(model.network, {}, statistics)
    np.testing.assert_array_equal(constants[step.weights], plain[step.weights])


@pytest.mark.parametrize("kind", ["pointwise", "dense", "depthwise", "grouped"])
@pytest.mark.parametrize("model_format", LAYERS)
def test_corrected_bias_keeps_the_mean_output(tmp_path: Path, model_format: str, kind: str) -> None:
    model, inputs = LAYERS[model_format](kind, tmp_path), inputs_for(model_format)
    statistics = collect_statistics(open_kept(model), inputs)
    step = layer_of(model)
    assert step.bias is not None
    rounded = rounded_constants(model.network, {}, statistics)
    axes = tuple(i for i in range(5) if i != (4 if model_format == "tflite" else 2))
    exact = outputs(model, inputs).mean(axis=axes)
    candidates = rounded, {step.weights: rounded[step.weights]}
    shifts = [
        np.abs(outputs(model.with_constants(constants), inputs).mean(axis=axes) - exact).max()
        for constants in candidates
    ]
    # Only without a border does a window see the mean of the whole map.
    assert shifts[0] < (1e-4 if kind == "pointwise" else 0.3) * shifts[1]


def test_map_smaller_than_the_kernel_is_padded(tmp_path: Path) -> None:
    b = Builder(5, (1, 2, 1, 6))
    data = b.model(b.conv(b.image, 6, 4, size=3))
    (tmp_path / "float.tflite").write_bytes(data)
    model = TfliteFloat.of_file(tmp_path / "float.tflite")
    random: Any = np.random.default_rng(0)
    inputs = [random.normal(size=(1, 2, 1, 6)).astype(np.float32) for _ in range(8)]
    moments, _ = moments_and_statistics(model, inputs)
    assert np.isfinite(moments["heatmaps"]).all()
    assert moments["heatmaps"].any()


def test_long_flat_map_gives_windows(tmp_path: Path) -> None:
    b = Builder(5, (1, 1, 3000, 2))
    (tmp_path / "float.tflite").write_bytes(b.model(b.conv(b.image, 2, 4)))
    model = TfliteFloat.of_file(tmp_path / "float.tflite")
    inputs = [np.random.default_rng(0).normal(size=(1, 1, 3000, 2)).astype(np.float32)]
    moments, _ = moments_and_statistics(model, inputs)
    np.testing.assert_allclose(moments["heatmaps"], np.eye(2)[None], atol=0.2)


def test_moments_are_those_of_what_the_layer_sees(tmp_path: Path) -> None:
    """Against sums over all windows, taken one by one."""
    model, inputs = tflite_layer("grouped", tmp_path), inputs_for("tflite", 1)
    moments, _ = moments_and_statistics(model, inputs)
    expected = np.zeros((2, 27, 27))
    picture = inputs[0][0]
    places = [(y, x) for y in range(12) for x in range(10)]
    for y, x in places:
        window = picture[y : y + 3, x : x + 3].reshape(9, 6)
        for group in (0, 1):
            flat = window[:, 3 * group : 3 * group + 3].T.reshape(-1).astype(np.float64)
            expected[group] += np.outer(flat, flat) / len(places)
    np.testing.assert_allclose(moments["heatmaps"], expected, rtol=1e-4)
