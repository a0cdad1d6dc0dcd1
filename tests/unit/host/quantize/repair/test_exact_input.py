"""Pixels on the int8 grid: the float result stays, and no grey level is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.host.models.tflite_view import op_name, read_tflite, tensor_name
from edgepose.host.quantize.repair.exact_input import ExactInput, lies_on_grid, pixel_range
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat, open_kept
from edgepose.host.quantize.tensor_ranges import TensorRanges, ranges_of
from edgepose.records.lineage import RECIPES, ExcludedTensor, QuantizationRecipe
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.activation_statistics import collect_statistics
from tests.support.tflite_networks import RELU, SAME, VALID, Builder, run

SIDE_PX = 16
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
RECIPE = {False: RECIPES["static_wi8_ai8"], True: RECIPES["static_wi8_ai8_symmetric"]}
PADDING = np.array([[0, 0], [1, 2], [0, 1], [0, 0]])


def spec(layout: str, **normalization: Any) -> InputSpec:
    return InputSpec(
        width_px=SIDE_PX,
        height_px=SIDE_PX,
        layout=layout,  # type: ignore[arg-type]
        color_order="RGB",
        resize="crop",
        **(normalization or IMAGENET),
    )


def tflite_network(front: str) -> bytes:
    """A first layer with weights of unlike size, and a second one."""
    b = Builder(1, (1, SIDE_PX, SIDE_PX, 3))
    x = b.image
    if "pad" in front:
        x = b.op("PAD", x, b.store(PADDING), options="Pad")
    if front == "depthwise":
        x = b.depthwise(x, 3)
    padding = SAME if "same" in front else VALID
    stride = 2 if "strided" in front else 1
    settings = {"strideH": stride, "strideW": stride, "padding": padding, "fusedActivationFunction": RELU}
    if front == "dilated_same":
        settings |= {"dilationHFactor": 2, "dilationWFactor": 2}
    y = b.conv(x, 3, 8, size=3, **settings)
    if front == "two_readers":
        y = b.add(y, b.conv(b.image, 3, 8, size=3, padding=VALID))
    return b.model(b.conv(y, 8, 5))


def onnx_network(front: str) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    kernels = [random.normal(size=shape).astype(np.float32) for shape in ((8, 3, 3, 3), (5, 8, 1, 1))]
    stored = dict(zip(("w1", "w2"), kernels, strict=True))
    stored |= {"b1": random.normal(size=8).astype(np.float32), "b2": np.zeros(5, np.float32)}
    nodes, source = [], "image"
    attributes: dict[str, Any] = {"strides": [2, 2] if "strided" in front else [1, 1]}
    if front == "pad":
        stored["widths"] = np.array([0, 0, 1, 0, 0, 0, 2, 1])
        nodes.append(helper.make_node("Pad", ["image", "widths"], ["padded"], "pad"))
        source = "padded"
    if front == "depthwise":
        stored |= {"wd": random.normal(size=(3, 1, 1, 1)).astype(np.float32), "bd": np.zeros(3, np.float32)}
        nodes += [
            helper.make_node("Conv", ["image", "wd", "bd"], ["d"], "d", group=3),
            helper.make_node("Sigmoid", ["d"], ["ds"], "ds"),
        ]
        source = "ds"
    if "same" in front:
        attributes["pads"] = [1, 0, 1, 2]
    nodes += [
        helper.make_node("Conv", [source, "w1", "b1"], ["c1"], "conv1", **attributes),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["heatmaps"], "conv2"),
    ]
    outputs = [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, None)]
    if front == "two_readers":
        nodes.append(helper.make_node("Sigmoid", ["image"], ["also"], "also"))
        outputs.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "front",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE_PX, SIDE_PX])],
        outputs,
        [numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def opened(model_format: str, front: str, folder: Path) -> FloatModel:
    path = folder / f"float.{model_format}"
    if model_format == "tflite":
        path.write_bytes(tflite_network(front))
        return TfliteFloat.of_file(path)
    onnx.save(onnx_network(front), path)
    return OnnxFloat.of_file(path)


def layout_of(model_format: str) -> str:
    return "NHWC" if model_format == "tflite" else "NCHW"


def normalized(pixels: NDArray[Any], given: InputSpec) -> NDArray[np.float32]:
    """(H, W, 3) pixels as the input tensor."""
    values = ((pixels - np.array(given.mean)) / np.array(given.std)).astype(np.float32)[None]
    return values if given.layout == "NHWC" else np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def all_levels() -> NDArray[np.int64]:
    """Every level once in every channel, in another order each."""
    random = np.random.default_rng(3)
    return np.stack([random.permutation(256).reshape(SIDE_PX, SIDE_PX) for _ in range(3)], axis=2)


def output_of(model: FloatModel, values: NDArray[np.float32], tensor: str) -> NDArray[np.float32]:
    kept = open_kept(model)
    kept.run(values)
    return kept.look_at(tensor, np.copy)


FRONTS = ["same", "valid", "strided_same", "dilated_same", "pad", "pad_and_same"]
KNOWN = [("tflite", front) for front in FRONTS] + [("onnx", f) for f in ("same", "valid", "strided_same")]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("model_format", "front"), KNOWN)
def test_float_output_stays_and_every_level_is_a_whole_number(
    tmp_path: Path, model_format: str, front: str, symmetric: bool
) -> None:
    model, given = opened(model_format, front, tmp_path), spec(layout_of(model_format))
    found = model.with_pixels_on_grid(given, symmetric=symmetric)
    assert found is not None
    changed, exact = found
    values = normalized(all_levels(), given)
    expected = output_of(model, values, "heatmaps")
    actual = output_of(changed, values, "heatmaps")
    assert np.abs(expected - actual).max() <= 1e-5 * np.abs(expected).max()
    zero_level = 128 if symmetric else -round(exact.ranges["pixels"][0])
    pixels = np.moveaxis(output_of(changed, values, "pixels"), -1 if model_format == "tflite" else 1, 0)
    for channel in pixels.reshape(3, -1):
        whole = channel[np.abs(channel - channel.round()) < 1e-3].round().astype(int) + zero_level
        assert set(whole) == set(range(256))
        # What is no level is padding, in the mean colour.
        assert len(np.unique(channel[np.abs(channel - channel.round()) >= 1e-3])) <= 1
        assert len(whole) >= 256


def test_padding_after_the_change_of_scale_would_be_wrong(tmp_path: Path) -> None:
    """The claim can fail: with SAME left in place the border pads with another colour."""
    from edgepose.host.quantize.repair import exact_input

    graph, given = read_tflite(tflite_network("same")), spec("NHWC")
    front = exact_input._Front.find(graph)
    assert front is not None
    offset = np.array(given.mean) - 114
    front.insert_affine(np.array(given.std), offset)
    front.fold(np.array(given.std), offset)
    from ai_edge_litert.tools import flatbuffer_utils

    values = normalized(all_levels(), given)
    expected = run(tflite_network("same"), values)
    actual = run(bytes(flatbuffer_utils.convert_object_to_bytearray(graph)), values)
    assert np.abs(expected - actual).max() > 1e-2 * np.abs(expected).max()
    np.testing.assert_allclose(actual[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-4)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
@pytest.mark.parametrize("front", ["two_readers", "depthwise"])
def test_front_that_is_not_understood_is_left_alone(tmp_path: Path, model_format: str, front: str) -> None:
    model = opened(model_format, front, tmp_path)
    before = model.data
    assert model.with_pixels_on_grid(spec(layout_of(model_format)), symmetric=False) is None
    assert model.data == before


def quantized(
    model: FloatModel, values: NDArray[np.float32], exact: ExactInput | None, *, symmetric: bool
) -> bytes:
    """By the format's real quantizer, with ranges of one crop."""
    ranges: TensorRanges = ranges_of(collect_statistics(open_kept(model), [values]), "minmax")
    recipe: QuantizationRecipe = RECIPE[symmetric]
    if exact is not None:
        ranges.update(exact.ranges)
        held = tuple(ExcludedTensor(name=name, reason="pixels") for name in exact.float_tensors)
        recipe = msgspec.structs.replace(recipe, excluded=held)
    return model.quantized(recipe, ranges)


def tflite_codes(data: bytes, values: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
    """What the first convolution in integers reads: the codes, and the step."""
    graph = read_tflite(data)
    subgraph = graph.subgraphs[0]
    for op in subgraph.operators:
        tensor = subgraph.tensors[op.inputs[0]]
        scale = getattr(tensor.quantization, "scale", None)
        if op_name(graph, op) in {"CONV_2D", "PAD"} and scale is not None:
            return run(data, values, tensor_name(tensor)), float(scale[0])
    raise AssertionError("no convolution in integers")


def onnx_codes(data: bytes, values: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
    import onnxruntime

    model = onnx.load_from_string(data)
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    model.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.INT8, None))
    kind = stored[node.input[2]].dtype
    model.graph.output[-1].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(kind)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    codes = session.run([node.output[0]], {session.get_inputs()[0].name: values})[0]
    return np.moveaxis(np.asarray(codes), 1, -1), float(stored[node.input[1]])


CODES: dict[str, Callable[[bytes, NDArray[np.float32]], tuple[NDArray[Any], float]]] = {
    "tflite": tflite_codes,
    "onnx": onnx_codes,
}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("model_format", "front"), KNOWN)
def test_int8_keeps_all_256_levels_of_every_channel(
    tmp_path: Path, model_format: str, front: str, symmetric: bool
) -> None:
    given = spec(layout_of(model_format))
    values = normalized(all_levels(), given)
    found = opened(model_format, front, tmp_path).with_pixels_on_grid(given, symmetric=symmetric)
    assert found is not None
    codes, step = CODES[model_format](quantized(found[0], values, found[1], symmetric=symmetric), values)
    assert step == 1.0
    assert [len(np.unique(codes[..., channel])) for channel in range(3)] == [256] * 3


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_plain_int8_lets_levels_collide(tmp_path: Path, model_format: str, symmetric: bool) -> None:
    given = spec(layout_of(model_format))
    values = normalized(all_levels(), given)
    data = quantized(opened(model_format, "valid", tmp_path), values, None, symmetric=symmetric)
    codes, _ = CODES[model_format](data, values)
    assert all(len(np.unique(codes[..., channel])) < 256 for channel in range(3))


ON_GRID = {"mean": (128.0,) * 3, "std": (64.0,) * 3}


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_input_that_lies_on_the_grid_needs_no_op_but_for_symmetric_steps(
    tmp_path: Path, model_format: str, symmetric: bool
) -> None:
    given = spec(layout_of(model_format), **ON_GRID)
    model, values = opened(model_format, "valid", tmp_path), normalized(all_levels(), given)
    found = model.with_pixels_on_grid(given, symmetric=symmetric)
    assert found is not None
    assert bool(found[1].float_tensors) == symmetric
    codes, step = CODES[model_format](quantized(found[0], values, found[1], symmetric=symmetric), values)
    assert step == pytest.approx(1.0 if symmetric else 1 / 64)
    assert [len(np.unique(codes[..., channel])) for channel in range(3)] == [256] * 3


@pytest.mark.parametrize(
    ("mean", "std", "lies"),
    [
        ((0, 0, 0), (1, 1, 1), True),
        ((0, 0, 0), (255, 255, 255), True),
        ((128, 128, 128), (64, 64, 64), True),
        ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), False),
        ((0, 0, 0), (58, 57, 57), False),
        ((-20, -20, -20), (1, 1, 1), False),
        (IMAGENET["mean"], IMAGENET["std"], False),
    ],
)
def test_normalization_that_keeps_levels_on_the_grid_is_known(
    mean: tuple[float, ...], std: tuple[float, ...], lies: bool
) -> None:
    assert lies_on_grid(spec("NHWC", mean=mean, std=std)) == lies


def test_range_of_pixels_spans_all_channels() -> None:
    low, high = pixel_range(spec("NHWC"))
    assert low == pytest.approx(-123.675 / 58.395)
    assert high == pytest.approx((255 - 103.53) / 57.375)
