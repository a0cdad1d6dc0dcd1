"""Every ONNX operator of the direct route gives ONNX Runtime's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.host.convert.direct.graph_ir import UnsupportedByDirectRoute
from tests.unit.host.convert.direct.comparison import OnnxBuilder, compare

Build = Callable[[OnnxBuilder], "str | list[str]"]
X = (1, 6, 9, 8)


def _on_x(op_type: str, *constants: object, shape: tuple[int, ...] = X, **attrs: object) -> Build:
    return lambda b: b.op(op_type, b.input(*shape), *(b.constant(c) for c in constants), **attrs)


def _after_conv(op_type: str, **attrs: object) -> Build:
    return lambda b: b.op(op_type, b.conv(b.input(*X), 6, 6), **attrs)


def _with_integers(
    op_type: str, *operands: tuple[int, ...], shape: tuple[int, ...] = X, **attrs: object
) -> Build:
    return lambda b: b.op(op_type, b.input(*shape), *(b.integers(*o) for o in operands), **attrs)


def _conv(channels_out: int, kernel: int, **attrs: object) -> Build:
    return lambda b: b.conv(b.input(*X), 6, channels_out, kernel, **attrs)


def _deconv(group: int = 1, kernel: int = 4, out: int = 4, **attrs: object) -> Build:
    def build(b: OnnxBuilder) -> str:
        name: str = b.op(
            "ConvTranspose",
            b.input(*X),
            b.weights(6, out // group, kernel, kernel),
            b.weights(out),
            group=group,
            **attrs,
        )
        return name

    return build


def _resize(mode: str, rule: str, scale: tuple[float, float], nearest: str = "floor") -> Build:
    def build(b: OnnxBuilder) -> str:
        scales = b.constant([1.0, 1.0, *scale])
        attrs = {"mode": mode, "coordinate_transformation_mode": rule}
        if mode == "nearest":
            attrs["nearest_mode"] = nearest
        name: str = b.op("Resize", b.input(*X), "", scales, **attrs)
        return name

    return build


def _resize_to(mode: str, rule: str, size: tuple[int, int]) -> Build:
    return lambda b: b.op(
        "Resize", b.input(*X), "", "", b.integers(1, 6, *size), mode=mode, coordinate_transformation_mode=rule
    )


def _silu(b: OnnxBuilder) -> str:
    y = b.conv(b.input(*X), 6, 4)
    name: str = b.op("Mul", y, b.op("Sigmoid", y))
    return name


def _gelu(b: OnnxBuilder) -> str:
    x = b.conv(b.input(*X), 6, 4)
    erf = b.op("Erf", b.op("Div", x, b.constant(math.sqrt(2.0))))
    name: str = b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))
    return name


def _hard_swish_by_hand(b: OnnxBuilder) -> str:
    x = b.conv(b.input(*X), 6, 4)
    gate = b.op("Clip", b.op("Add", x, b.constant(3.0)), b.constant(0.0), b.constant(6.0))
    name: str = b.op("Div", b.op("Mul", x, gate), b.constant(6.0))
    return name


def _squeeze_excite(b: OnnxBuilder) -> str:
    x = b.conv(b.input(*X), 6, 8)
    gate = b.op("Sigmoid", b.conv(b.op("Relu", b.conv(b.op("GlobalAveragePool", x), 8, 4)), 4, 8))
    name: str = b.op("Mul", x, gate)
    return name


def _normalization(op_type: str) -> Build:
    def build(b: OnnxBuilder) -> str:
        parts = [b.weights(6), b.weights(6)]
        if op_type == "BatchNormalization":
            parts += [b.weights(6), b.constant(np.abs(b.random.standard_normal(6)) + 0.5)]
        # A ReLU in front keeps ONNX Runtime from folding the normalization away.
        name: str = b.op(op_type, b.op("Relu", b.input(*X)), *parts)
        return name

    return build


def _layer_normalization(b: OnnxBuilder) -> str:
    name: str = b.op("LayerNormalization", b.input(1, 7, 12), b.weights(12), b.weights(12), axis=-1)
    return name


def _written_out_layer_normalization(b: OnnxBuilder) -> str:
    x = b.input(1, 7, 12)
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.constant(2.0)), axes=[-1])
    root = b.op("Sqrt", b.op("Add", variance, b.constant(1e-5)))
    name: str = b.op("Mul", b.op("Div", centred, root), b.weights(12))
    return name


def _simcc_head(b: OnnxBuilder) -> str:
    heat = b.conv(b.input(*X), 6, 5, 3)
    flat = b.op("Reshape", heat, b.integers(1, 5, -1))
    name: str = b.op("MatMul", flat, b.weights(72, 16))
    return name


def _classifier(b: OnnxBuilder) -> str:
    y = b.op("Flatten", b.conv(b.input(*X), 6, 5, 3))
    name: str = b.op("Gemm", y, b.weights(10, 360), b.weights(10), transB=1)
    return name


def _attention(b: OnnxBuilder) -> str:
    x = b.input(1, 7, 12)
    q, k, v = (b.op("MatMul", x, b.weights(12, 12)) for _ in range(3))
    scores = b.op("Softmax", b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    name: str = b.op("MatMul", scores, v)
    return name


def _split(b: OnnxBuilder) -> list[str]:
    names: list[str] = b.op("Split", b.conv(b.input(*X), 6, 7), b.integers(3, 4), outputs=2, axis=1)
    return names


def _focus(b: OnnxBuilder) -> str:
    x = b.input(1, 3, 8, 12)
    parts = []
    for column in (0, 1):
        for row in (0, 1):
            y = b.op("Slice", x, b.integers(row), b.integers(2**60), b.integers(2), b.integers(2))
            parts.append(
                b.op("Slice", y, b.integers(column), b.integers(2**60), b.integers(3), b.integers(2))
            )
    return b.conv(b.op("Concat", *parts, axis=1), 12, 5, 3)


def _expanded(b: OnnxBuilder) -> str:
    name: str = b.op("Expand", b.op("GlobalAveragePool", b.input(*X)), b.integers(1, 6, 3, 4))
    return name


def _binary(op_type: str, other: tuple[int, ...]) -> Build:
    def build(b: OnnxBuilder) -> str:
        constant = b.constant(np.abs(b.random.standard_normal(other)) + 0.5)
        name: str = b.op(op_type, b.conv(b.input(*X), 6, 6), constant)
        return name

    return build


CASES: list[tuple[str, Build]] = [
    ("conv 1x1", _conv(5, 1)),
    ("conv 3x3 same", _conv(5, 3)),
    ("conv stride 2 with pads that are not SAME", _conv(5, 3, strides=[2, 2])),
    ("conv with asymmetric pads", _conv(5, 3, pads=[0, 1, 2, 0])),
    (
        "conv auto_pad upper",
        lambda b: b.op("Conv", b.input(*X), b.weights(5, 6, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    ),
    (
        "conv auto_pad lower",
        lambda b: b.op("Conv", b.input(*X), b.weights(5, 6, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    ),
    ("dilated conv", _conv(5, 3, dilations=[2, 2], pads=[2, 2, 2, 2])),
    ("depthwise", _conv(6, 3, group=6)),
    ("depthwise, multiplier 2", _conv(12, 3, group=6)),
    ("depthwise, dilated", _conv(6, 3, group=6, dilations=[2, 2], pads=[2, 2, 2, 2])),
    ("grouped conv", _conv(9, 3, group=3)),
    (
        "explicit Pad in front",
        lambda b: b.conv(b.op("Pad", b.input(*X), b.integers(0, 0, 1, 1, 0, 0, 1, 1)), 6, 4, 3, pads=[0] * 4),
    ),
    ("1-D conv", lambda b: b.op("Conv", b.input(1, 6, 20), b.weights(4, 6, 3), pads=[1, 1])),
    ("transposed, k4 s2 p1", _deconv(strides=[2, 2], pads=[1, 1, 1, 1])),
    ("transposed, k3 s2 p1 op1", _deconv(kernel=3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    ("transposed, k2 s2", _deconv(kernel=2, strides=[2, 2])),
    ("transposed, groups", _deconv(group=2, strides=[2, 2], pads=[1, 1, 1, 1])),
    ("transposed, dilated", _deconv(kernel=2, dilations=[2, 2])),
    *[
        (op, _after_conv(op))
        for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Abs", "Neg", "Exp", "HardSigmoid", "LeakyRelu")
    ],
    *[(op + " alone", _on_x(op)) for op in ("Relu", "Sigmoid", "Softmax", "GlobalMaxPool")],
    ("Clip 0 6", _on_x("Clip", 0.0, 6.0)),
    ("Clip other bounds", _on_x("Clip", -0.5, 0.75)),
    (
        "Clip 0 1 behind a conv",
        lambda b: b.op("Clip", b.conv(b.input(*X), 6, 6), b.constant(0.0), b.constant(1.0)),
    ),
    ("Clip from above", _on_x("Clip", float(np.finfo(np.float32).min), 0.3)),
    ("Clip from below", _on_x("Clip", -0.2)),
    ("Clip with equal bounds", _on_x("Clip", 0.5, 0.5)),
    ("LeakyRelu above 1", _after_conv("LeakyRelu", alpha=1.5)),
    ("Clip without bounds", lambda b: b.op("Clip", b.conv(b.input(*X), 6, 6))),
    ("PRelu per channel", _on_x("PRelu", np.linspace(0.1, 0.6, 6).reshape(6, 1, 1))),
    ("Sqrt of a square", lambda b: b.op("Sqrt", b.op("Pow", b.input(*X), b.constant(2.0)))),
    ("Log", lambda b: b.op("Log", b.op("Add", b.op("Abs", b.input(*X)), b.constant(1.0)))),
    ("Pow 3", lambda b: b.op("Pow", b.op("Abs", b.input(*X)), b.constant(3.0))),
    ("Reciprocal", lambda b: b.op("Reciprocal", b.op("Exp", b.input(*X)))),
    ("SiLU", _silu),
    ("GELU written out", _gelu),
    ("hard-swish written out", _hard_swish_by_hand),
    ("squeeze and excite", _squeeze_excite),
    *[
        (f"{op} with {shape}", _binary(op, shape))
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")
        for shape in ((), (6, 1, 1), (1, 6, 9, 8), (9, 1))
    ],
    ("constant minus x", lambda b: b.op("Sub", b.weights(6, 1, 1), b.conv(b.input(*X), 6, 6))),
    ("x + x behind a conv", lambda b: b.op("Add", (y := b.conv(b.input(*X), 6, 6)), y)),
    ("BatchNormalization", _normalization("BatchNormalization")),
    ("InstanceNormalization", _normalization("InstanceNormalization")),
    ("LayerNormalization", _layer_normalization),
    ("LayerNormalization written out", _written_out_layer_normalization),
    ("MaxPool 2x2", _on_x("MaxPool", kernel_shape=[2, 2], strides=[2, 2])),
    (
        "MaxPool with a border, negative values",
        _on_x("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], shape=(1, 4, 8, 10)),
    ),
    ("MaxPool SAME", _on_x("MaxPool", kernel_shape=[5, 5], pads=[2, 2, 2, 2])),
    ("AveragePool", _on_x("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    (
        "AveragePool counting the border",
        _on_x("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    ),
    ("GlobalAveragePool", _on_x("GlobalAveragePool")),
    ("ReduceMean spatial", _on_x("ReduceMean", axes=[2, 3])),
    (
        "ReduceMean of channels, dropped",
        lambda b: b.op("ReduceMean", b.conv(b.input(*X), 6, 6), axes=[1], keepdims=0),
    ),
    ("ReduceMax", _on_x("ReduceMax", axes=[3], keepdims=0)),
    ("ReduceSum", _with_integers("ReduceSum", (1,))),
    ("ReduceL2", _on_x("ReduceL2", axes=[1])),
    ("Concat channels", lambda b: b.op("Concat", b.conv((x := b.input(*X)), 6, 3), b.conv(x, 6, 4), axis=1)),
    ("Concat rows", lambda b: b.op("Concat", b.conv((x := b.input(*X)), 6, 3), b.conv(x, 6, 3), axis=2)),
    ("Split", _split),
    ("Slice", _with_integers("Slice", (1, 2), (-1, 8), (1, 2), (1, 2))),
    ("YOLOX focus", _focus),
    (
        "Pad by a value",
        lambda b: b.op("Pad", b.input(*X), b.integers(0, 0, 1, 2, 0, 0, 0, 1), b.constant(1.5)),
    ),
    (
        "Pad by reflection",
        lambda b: b.op("Pad", b.input(*X), b.integers(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect"),
    ),
    (
        "Reshape that needs ONNX's order",
        lambda b: b.op("Reshape", b.conv(b.input(*X), 6, 6), b.integers(1, 12, 36)),
    ),
    ("Flatten and Gemm", _classifier),
    ("Transpose", lambda b: b.op("Transpose", b.conv(b.input(*X), 6, 6), perm=[0, 2, 1, 3])),
    ("Squeeze", lambda b: b.op("Squeeze", b.op("GlobalAveragePool", b.input(*X)), b.integers(2, 3))),
    ("Unsqueeze", lambda b: b.op("Unsqueeze", b.input(1, 6, 8), b.integers(2))),
    ("Resize nearest x2", _resize("nearest", "asymmetric", (2, 2))),
    ("Resize nearest x3 x2 half pixel", _resize("nearest", "half_pixel", (3, 2), "round_prefer_floor")),
    ("Resize nearest x7", _resize("nearest", "asymmetric", (7, 7))),
    ("Resize linear half pixel", _resize("linear", "half_pixel", (2, 2))),
    ("Resize linear PyTorch", _resize_to("linear", "pytorch_half_pixel", (13, 20))),
    ("Resize linear corners", _resize_to("linear", "align_corners", (17, 15))),
    ("Resize linear asymmetric", _resize("linear", "asymmetric", (2, 2))),
    ("Softmax over channels", lambda b: b.op("Softmax", b.conv(b.input(*X), 6, 6), axis=1)),
    ("Gather", lambda b: b.conv(b.op("Gather", b.input(*X), b.integers(5, 3, 4, 0, 1, 2), axis=1), 6, 4)),
    ("Gather rows", _with_integers("Gather", (3, 1), axis=2)),
    ("Tile", _with_integers("Tile", (1, 2, 1, 3))),
    ("Expand", _expanded),
    ("DepthToSpace DCR", _on_x("DepthToSpace", shape=(1, 8, 3, 4), blocksize=2)),
    ("DepthToSpace CRD", lambda b: b.op("DepthToSpace", b.conv(b.input(*X), 6, 12), blocksize=2, mode="CRD")),
    ("SpaceToDepth", _on_x("SpaceToDepth", shape=(1, 3, 6, 8), blocksize=2)),
    ("MatMul behind a flattened heatmap", _simcc_head),
    ("attention", _attention),
    ("ArgMax", lambda b: b.op("ArgMax", b.conv(b.input(*X), 6, 6), axis=1)),
    ("ArgMax dropped", _on_x("ArgMax", axis=3, keepdims=0)),
    ("Identity as the only node", _on_x("Identity")),
]


@pytest.mark.parametrize(("name", "build"), CASES, ids=[name for name, _ in CASES])
def test_operator_equals_onnxruntime(name: str, build: Build, tmp_path: Path) -> None:
    builder = OnnxBuilder()
    outputs = build(builder)
    path = builder.save(tmp_path / "model.onnx", *([outputs] if isinstance(outputs, str) else outputs))

    assert compare(path).worst < 1e-4


@pytest.mark.parametrize(
    ("build", "unknown"),
    [
        (_after_conv("LeakyRelu", alpha=0.1), "LEAKY_RELU"),
        (_after_conv("Neg"), "NEG"),
        (_on_x("Clip", 0.0, 1.0), "MINIMUM"),
        (_binary("Min", (6, 1, 1)), "MINIMUM"),
        (_on_x("ReduceMax", axes=[3]), "REDUCE_MAX"),
        (_on_x("GlobalMaxPool"), "REDUCE_MAX"),
    ],
)
def test_operator_is_written_in_what_the_int8_quantizer_knows(
    build: Build, unknown: str, tmp_path: Path
) -> None:
    builder = OnnxBuilder()
    output = build(builder)
    assert isinstance(output, str)
    assert unknown not in compare(builder.save(tmp_path / "model.onnx", output)).conversion.op_counts


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_convolution_equals_onnxruntime(data: st.DataObject, tmp_path: Path) -> None:
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel, strides, dilations = (
        [pick(1, 4), pick(1, 4)],
        [pick(1, 3), pick(1, 3)],
        [pick(1, 2), pick(1, 2)],
    )
    pads = [pick(0, 3) for _ in range(4)]
    group = data.draw(st.sampled_from([1, 2, 4]))
    b = OnnxBuilder()
    x = b.input(1, 4, pick(8, 13), pick(8, 13))
    y = b.op(
        "Conv", x, b.weights(8, 4 // group, *kernel), b.weights(8),
        strides=strides, dilations=dilations, pads=pads, group=group,
    )  # fmt: skip

    assert compare(b.save(tmp_path / "conv.onnx", y)).worst < 1e-4


def test_old_clip_and_upsample_are_read(tmp_path: Path) -> None:
    builder = OnnxBuilder(opset=9)
    y = builder.op("Clip", builder.input(*X), min=0.0, max=6.0)
    up = builder.op("Upsample", y, builder.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    path = builder.save(tmp_path / "old.onnx", up)

    assert compare(path).worst < 1e-5


@pytest.mark.parametrize(
    ("build", "kind"),
    [(_gelu, "GELU"), (_hard_swish_by_hand, "HARD_SWISH"), (_written_out_layer_normalization, "RSQRT")],
)
def test_written_out_function_becomes_one_operator(build: Build, kind: str, tmp_path: Path) -> None:
    builder = OnnxBuilder()
    counts = compare(builder.save(tmp_path / "model.onnx", str(build(builder)))).conversion.op_counts

    assert counts[kind] == 1
    assert not {"DIV", "SQRT"} & set(counts)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_resize("cubic", "half_pixel", (2, 2)), "cubic"),
        (_resize("nearest", "asymmetric", (1.5, 1.5), "ceil"), "sampling positions"),
        (_on_x("Softplus"), "Softplus"),
        (_on_x("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "ceil_mode"),
        (_with_integers("Slice", (-1,), (-100,), (2,), (-1,)), "step -1"),
    ],
)
def test_what_cannot_be_exact_is_refused_by_operator_and_node(
    build: Build, words: str, tmp_path: Path
) -> None:
    builder = OnnxBuilder()
    path = builder.save(tmp_path / "model.onnx", str(build(builder)))

    with pytest.raises(UnsupportedByDirectRoute, match=words) as caught:
        compare(path)

    assert "node" in str(caught.value)
    assert not path.with_suffix(".tflite").exists()
