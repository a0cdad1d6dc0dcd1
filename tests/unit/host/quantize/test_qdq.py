"""QDQ of our own: every op family in integers, placed for TensorRT or for ONNX Runtime's CPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from edgepose.errors import ModelError
from edgepose.host.models.audit import audit_model
from edgepose.host.quantize.qdq.writer import (
    QdqResult,
    activation_scale,
    bias_scale,
    quantize_with_ranges,
    weight_scale,
)
from edgepose.host.quantize.tensor_ranges import TensorRanges, ranges_of
from edgepose.records.lineage import RECIPES, ExcludedTensor, QuantizationRecipe
from edgepose.runtime.activation_statistics import collect_statistics
from edgepose.runtime.backends.onnxruntime_tensors import OnnxTensors
from edgepose.runtime.open_model import open_backend
from tests.support.onnx_networks import FAMILIES, Builder, random_inputs, random_network

CPU, TENSORRT = RECIPES["static_wi8_ai8"], RECIPES["static_wi8_ai8_symmetric"]
# Ops without an integer kernel in these families, by the reason that the writer must give.
FLOAT = {
    "scale": {"Div"},
    "leaky": {"PRelu"},
    "reduce": {"ReduceMean"},
    "normalized": {"HardSigmoid"},
    "sum": {"Sub"},
}


def ranges_for(model: onnx.ModelProto, folder: Path) -> TensorRanges:
    path = folder / "float.onnx"
    onnx.save(model, path)
    return ranges_of(collect_statistics(OnnxTensors(path), random_inputs(4, 1)), "minmax")


def quantized(
    model: onnx.ModelProto, recipe: QuantizationRecipe, folder: Path
) -> tuple[QdqResult, onnx.ModelProto]:
    written = quantize_with_ranges(model, recipe, ranges_for(model, folder))
    loaded = onnx.load_from_string(written.model)
    onnx.checker.check_model(loaded, full_check=True)
    return written, loaded


def run(model: onnx.ModelProto, *, optimized_to: Path | None = None) -> list[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if optimized_to is not None:
        options.optimized_model_filepath = str(optimized_to)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [session.run(["heatmaps"], {"image": values})[0] for values in random_inputs(4, 1)]


def signal_to_noise_db(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    expected, found = np.array(run(model)), np.array(run(other))
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def producers(model: onnx.ModelProto) -> dict[str, Any]:
    return {name: node for node in model.graph.node for name in node.output}


def excluding(recipe: QuantizationRecipe, *names: str) -> QuantizationRecipe:
    excluded = tuple(ExcludedTensor(name=name, reason="test") for name in names)
    return msgspec.structs.replace(recipe, excluded=excluded)


@pytest.mark.parametrize("recipe", [CPU, TENSORRT], ids=["cpu", "tensorrt"])
@pytest.mark.parametrize("family", FAMILIES)
def test_int8_stays_near_float_and_the_audit_agrees(
    family: str, recipe: QuantizationRecipe, tmp_path: Path
) -> None:
    model = random_network(family, 0)
    written, loaded = quantized(model, recipe, tmp_path)
    assert {op.op for op in written.float_ops} == FLOAT.get(family, set())
    assert all(op.reason for op in written.float_ops)
    assert signal_to_noise_db(model, loaded) > 15
    path = tmp_path / "int8.onnx"
    path.write_bytes(written.model)
    audit = audit_model(path)
    assert {op.name for op in audit.float_ops} == {op.name for op in written.float_ops}
    assert audit.wide_weights == ()


@pytest.mark.parametrize("family", ["shuffle", "gather", "clip", "pool", "dense"])
def test_onnxruntime_fuses_everything_for_the_cpu(family: str, tmp_path: Path) -> None:
    _, loaded = quantized(random_network(family, 0), CPU, tmp_path)
    run(loaded, optimized_to=tmp_path / "optimized.onnx")
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert ops["QLinearConv"] >= 4
    assert not {"Conv", "FusedConv", "Relu", "Clip", "Add", "Concat"} & set(ops)
    assert (ops["QuantizeLinear"], ops["DequantizeLinear"]) == (1, 1)


def test_nothing_stands_between_a_convolution_and_its_relu(tmp_path: Path) -> None:
    for recipe in (CPU, TENSORRT):
        _, loaded = quantized(random_network("shuffle", 0), recipe, tmp_path)
        writes = producers(loaded)
        relus = [node for node in loaded.graph.node if node.op_type == "Relu"]
        assert [writes[node.input[0]].op_type for node in relus] == ["Conv"] * 2


def test_symmetric_files_are_what_tensorrt_reads(tmp_path: Path) -> None:
    _, loaded = quantized(random_network("sum", 0), TENSORRT, tmp_path)
    stored = {entry.name: entry for entry in loaded.graph.initializer}
    for node in loaded.graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            zero = onnx.numpy_helper.to_array(stored[node.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type == "Conv":
            assert stored[node.input[2]].data_type == onnx.TensorProto.FLOAT


def test_residual_sum_takes_the_convolution_unrounded_for_tensorrt_only(tmp_path: Path) -> None:
    model = random_network("sum", 0)
    fed: dict[bool, list[str]] = {}
    for recipe in (CPU, TENSORRT):
        _, loaded = quantized(model, recipe, tmp_path)
        writes = producers(loaded)
        first = next(node for node in loaded.graph.node if node.op_type == "Add")
        fed[recipe.symmetric_activations] = sorted(writes[name].op_type for name in first.input)
    assert fed == {False: ["DequantizeLinear"] * 2, True: ["Conv", "DequantizeLinear"]}


def test_concatenated_and_moved_tensors_share_one_scale(tmp_path: Path) -> None:
    _, loaded = quantized(random_network("split", 0), CPU, tmp_path)
    writes = producers(loaded)
    concat = next(node for node in loaded.graph.node if node.op_type == "Concat")
    split = next(node for node in loaded.graph.node if node.op_type == "Split")
    scales = {writes[name].input[1] for name in (*concat.input, split.input[0])}
    assert len(scales) == 1


def test_names_are_kept_and_the_same_call_gives_the_same_bytes(tmp_path: Path) -> None:
    model = random_network("attention", 0)
    before = model.SerializeToString(deterministic=True)
    ranges = ranges_for(model, tmp_path)
    one, other = (quantize_with_ranges(model, CPU, ranges).model for _ in range(2))
    assert one == other
    assert model.SerializeToString(deterministic=True) == before
    graph = onnx.load_from_string(one).graph
    assert ([i.name for i in graph.input], [o.name for o in graph.output]) == (["image"], ["heatmaps"])


def test_excluded_convolution_and_its_relu_stay_float_together(tmp_path: Path) -> None:
    model = random_network("gather", 0)
    convolution, relu = model.graph.node[0], model.graph.node[1]
    for name in (convolution.name, convolution.output[0], relu.output[0]):
        written, loaded = quantized(model, excluding(CPU, name), tmp_path)
        assert {op.op for op in written.float_ops} == {"Conv", "Relu"}
        assert producers(loaded)[relu.input[0]].op_type == "Conv"
        path = tmp_path / "int8.onnx"
        path.write_bytes(written.model)
        assert all(name in {op.name, *op.tensors} for op in audit_model(path).float_ops)


def test_moves_between_float_ops_are_not_rounded(tmp_path: Path) -> None:
    model = random_network("shuffle", 0)
    nodes = {node.op_type: node for node in model.graph.node}
    around = [n.name for n in model.graph.node if n.op_type == "Conv"][1:3]
    written, _ = quantized(model, excluding(CPU, *around), tmp_path)
    assert nodes["Transpose"].name in {op.name for op in written.float_ops}
    alone, _ = quantized(model, excluding(CPU, around[0]), tmp_path)
    assert nodes["Transpose"].name not in {op.name for op in alone.float_ops}


def test_missing_range_is_refused(tmp_path: Path) -> None:
    model = random_network("sum", 0)
    ranges = ranges_for(model, tmp_path)
    del ranges["image"]
    with pytest.raises(ModelError, match="'image' is to be rounded and has no range"):
        quantize_with_ranges(model, CPU, ranges)


def test_range_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    model = random_network("sum", 0)
    ranges = ranges_for(model, tmp_path) | {"image": (0.0, float("inf"))}
    with pytest.raises(ModelError, match="finite"):
        quantize_with_ranges(model, CPU, ranges)


def test_scales_represent_zero_exactly_and_do_not_divide_by_zero() -> None:
    scale = activation_scale(0.5, 2.0, symmetric=False)
    assert float(scale.scale) * 255 == pytest.approx(2.0)
    assert int(scale.zero_point) == 0
    assert int(activation_scale(-1.0, 3.0, symmetric=False).quantize(np.zeros(1))[0]) == 64
    for symmetric in (False, True):
        assert float(activation_scale(0.0, 0.0, symmetric=symmetric).scale) > 0
    assert float(activation_scale(-4.0, 1.0, symmetric=True).scale) == pytest.approx(4 / 127)


def test_bias_of_a_dead_channel_still_fits_into_int32() -> None:
    weights, bias = np.array([[1.0], [1e-12]]), np.array([0.5, 0.3])
    input_scale = activation_scale(0.0, 6.0, symmetric=False)
    scale = weight_scale(weights, 0, bias, float(input_scale.scale))
    of_bias = bias_scale(input_scale, scale)
    found = of_bias.quantize(bias) * of_bias.scale.astype(np.float64)
    np.testing.assert_allclose(found, bias, rtol=1e-3)
    plain = bias_scale(input_scale, weight_scale(weights, 0))
    assert not np.allclose(plain.quantize(bias) * plain.scale.astype(np.float64), bias, rtol=1e-3)


def depthwise_network() -> onnx.ModelProto:
    """Convolution, ReLU, depthwise convolution of unlike channels, convolution that evens them out."""
    b = Builder(0)
    size = np.geomspace(0.001, 1.0, 8)[:, None, None, None]
    narrow = (b.random.normal(size=(8, 1, 3, 3)) * size).astype(np.float32)
    even = (b.random.normal(size=(4, 8, 1, 1)) / size.reshape(1, 8, 1, 1)).astype(np.float32)
    x = b.op("Relu", b.conv("image", 4, 8))
    x = b.op("Conv", x, b.store(narrow), group=8, pads=[1] * 4)
    model = b.model(b.op("Conv", x, b.store(even)))
    model.graph.node.pop()
    model.graph.node[-1].output[0] = "heatmaps"
    return model


def test_what_only_float_ops_read_is_rounded_for_the_cpu_but_not_for_tensorrt(tmp_path: Path) -> None:
    model = depthwise_network()
    depthwise = model.graph.node[2]
    feeds: dict[bool, tuple[str, str]] = {}
    for recipe in (CPU, TENSORRT):
        written, loaded = quantized(model, excluding(recipe, depthwise.name), tmp_path)
        assert depthwise.name in {op.name for op in written.float_ops}
        writes = producers(loaded)
        (reader,) = (node for node in loaded.graph.node if node.output[0] == depthwise.output[0])
        last = next(node for node in loaded.graph.node if "heatmaps" in node.output)
        feeds[recipe.symmetric_activations] = writes[reader.input[0]].op_type, last.op_type
        path = tmp_path / "int8.onnx"
        path.write_bytes(written.model)
        # The integer convolutions before and after count as integers either way.
        assert {op.op for op in audit_model(path).float_ops} == {"Conv"}
        assert len([op for op in audit_model(path).float_ops if op.op == "Conv"]) == 1
    assert feeds == {False: ("DequantizeLinear", "DequantizeLinear"), True: ("Relu", "Conv")}


def test_weights_that_a_recipe_left_in_float_are_not_rounded_by_the_runtime(tmp_path: Path) -> None:
    model = depthwise_network()
    depthwise = model.graph.node[2]
    _, loaded = quantized(model, excluding(CPU, depthwise.name), tmp_path)
    path = tmp_path / "int8.onnx"
    onnx.save(loaded, path)
    values = random_inputs(1, 1)[0]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (expected,) = plain.run(None, {"image": values})
    backend = open_backend(path)
    backend.load_input(lambda into: np.copyto(into, values))
    backend.invoke()
    np.testing.assert_allclose(backend.read_outputs()[0], expected, atol=0.05 * np.abs(expected).max())
    # Negative control: with its default optimizers ONNX Runtime gives something else.
    assert np.abs(np.array(run(loaded)[0]) - expected).max() > 0.05 * np.abs(expected).max()
