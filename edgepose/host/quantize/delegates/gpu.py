"""What LiteRT's GPU delegate takes on a phone, op by op.

Source: the checks that the delegate itself makes before it takes an op, ``CheckGpuDelegateCompatibility`` in
``tflite/tools/versioning/gpu_compatibility.cc`` of google-ai-edge/LiteRT, and the element types that
``delegates/gpu/common/model_builder.cc`` allows. Tensors of more than four dimensions are refused too, since
the delegate lays every tensor out as batch, height, width, channels.

Weights that are stored as float16 and dequantized are constants for the delegate, which unpacks them when
it is set up; so they are here.

Nothing here is measured: no phone was at hand, and the analyzer of TensorFlow 2.21 (``gpu_compatibility``)
calls every file compatible, MoveNet with its ARG_MAX too, so it is no check. A verdict is a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgepose.host.models.tflite_view import read_tflite
from edgepose.host.quantize.delegates.check import CheckedModel
from edgepose.host.quantize.delegates.op_view import (
    GraphView,
    OpVerdict,
    OpView,
    TensorView,
    count_on_cpu,
    refused_ops,
    view_graph,
)
from edgepose.records.accelerator import DelegateReport
from edgepose.records.device_profile import DeviceProfile

Rule = Callable[[OpView], str | None]

_TYPES = frozenset({"FLOAT32", "FLOAT16", "INT8", "UINT8", "INT32", "BOOL"})
_MOST_DIMENSIONS = 4
_UNPACKING = frozenset({"DENSIFY", "DEQUANTIZE"})
# ActivationFunctionType.SIGN_BIT of the schema.
_SIGN_BIT = 5


def check_model(profile: DeviceProfile, model: Path) -> CheckedModel:
    """Checks a model by the rules, which are all there is: the delegate has no compiler."""
    verdicts = gpu_verdicts(view_graph(read_tflite(model.read_bytes())))
    report = DelegateReport(
        delegate="gpu",
        status="rules checked",
        ops_total=len(verdicts),
        predicted_ops_on_cpu=count_on_cpu(verdicts),
        refused=refused_ops(verdicts),
        max_ops_on_cpu=profile.runtime.max_ops_on_cpu,
        model_bytes=model.stat().st_size,
    )
    return CheckedModel(report)


def gpu_verdicts(graph: GraphView) -> tuple[OpVerdict, ...]:
    """Judges every op of a graph; pure. The delegate takes several parts, so a refused op ends nothing."""
    folded = _unpacked_constants(graph)
    return tuple(OpVerdict(op.name, op.label, gpu_reason(_with_constants(op, folded))) for op in graph.ops)


def _unpacked_constants(graph: GraphView) -> frozenset[int]:
    """Tensors that the delegate knows when it is set up: stored weights after their unpacking."""
    known: set[int] = set()
    for op in graph.ops:
        if op.name in _UNPACKING and all(tensor.index in known for tensor in op.runtime_inputs):
            known.update(tensor.index for tensor in op.outputs)
    return frozenset(known)


def _with_constants(op: OpView, known: frozenset[int]) -> OpView:
    if op.name in _UNPACKING:
        return op
    inputs = tuple(replace(t, constant=True) if t is not None and t.index in known else t for t in op.inputs)
    return replace(op, inputs=inputs)


def gpu_reason(op: OpView) -> str | None:
    """Says why the GPU delegate does not take an op, or None where it is expected to."""
    rule = _RULES.get(op.name)
    if rule is None:
        return "the GPU delegate has no such operation"
    for tensor in (*op.runtime_inputs, *op.outputs):
        reason = _tensor_reason(tensor)
        if reason:
            return reason
    return rule(op)


def _tensor_reason(tensor: TensorView) -> str | None:
    if tensor.open_size:
        return f"tensor '{tensor.name}' has an open size, expected fixed ones"
    if tensor.dtype not in _TYPES:
        return f"tensor '{tensor.name}' is {tensor.dtype}, expected one of {', '.join(sorted(_TYPES))}"
    if len(tensor.shape) > _MOST_DIMENSIONS:
        return (
            f"tensor '{tensor.name}' has {len(tensor.shape)} dimensions, expected at most {_MOST_DIMENSIONS}"
        )
    return None


def _anything(_op: OpView) -> str | None:
    return None


def _one_computed(op: OpView) -> str | None:
    found = len(op.runtime_inputs)
    return None if found == 1 and len(op.outputs) == 1 else f"it has {found} computed inputs, expected 1"


def _elementwise(op: OpView) -> str | None:
    return "it has a constant input" if op.constant_inputs else _one_computed(op)


def _two_operands(op: OpView) -> str | None:
    computed, constant = len(op.runtime_inputs), len(op.constant_inputs)
    if (computed, constant) not in {(2, 0), (1, 1)}:
        return f"it has {computed} computed and {constant} constant inputs, expected 2 and 0 or 1 and 1"
    return _activation(op)


def _broadcasting(op: OpView) -> str | None:
    if len(op.inputs) != 2 or op.inputs[0] is None or op.inputs[1] is None:
        return f"it has {len(op.inputs)} inputs, expected 2"
    first, second = op.inputs[0].shape, op.inputs[1].shape
    pairs = zip(reversed(first), reversed(second), strict=False)
    fits = all(a == b or 1 in {a, b} for a, b in pairs)
    if len(first) > 1 and len(second) > 1 and len(first) != len(second) and not fits:
        return f"shapes {list(first)} and {list(second)} cannot be spread over each other"
    return _activation(op)


def _activation(op: OpView) -> str | None:
    return (
        "its fused activation is SIGN_BIT" if op.options.get("fusedActivationFunction") == _SIGN_BIT else None
    )


def _pool(op: OpView) -> str | None:
    return _one_computed(op) or _activation(op)


def _convolution(op: OpView) -> str | None:
    if len(op.runtime_inputs) > 2:
        return f"it has {len(op.runtime_inputs)} computed inputs, expected at most 2"
    return _activation(op)


def _depthwise(op: OpView) -> str | None:
    data, weights, result = op.inputs[0], op.input(1), op.outputs[0]
    if data is None or weights is None or len(data.shape) != _MOST_DIMENSIONS:
        return f"expected an input of {_MOST_DIMENSIONS} dimensions and weights"
    if weights.shape[-1] != result.shape[-1]:
        return f"it has weights for {weights.shape[-1]} channels and gives {result.shape[-1]}"
    return _convolution(op)


def _fully_connected(op: OpView) -> str | None:
    if op.options.get("weightsFormat", 0):
        return "its weights are shuffled, expected the default format"
    if op.inputs[0] is None or op.inputs[0].constant:
        return "its input is a constant"
    if op.options.get("keepNumDims") and len(op.inputs[0].shape) != len(op.outputs[0].shape):
        return "it keeps the dimensions and input and output differ in their number"
    return _convolution(op)


def _constant_axes(op: OpView) -> str | None:
    axes = op.input(1)
    if axes is None or not axes.constant or axes.dtype != "INT32":
        return "its axes are not a constant of INT32"
    return _one_computed(op)


def _pad(op: OpView) -> str | None:
    paddings = op.input(1)
    if paddings is None or paddings.shape not in {(3, 2), (4, 2)}:
        return f"its paddings have shape {list(paddings.shape) if paddings else None}, expected 3x2 or 4x2"
    return _one_computed(op)


def _slice(op: OpView) -> str | None:
    data = op.inputs[0]
    if data is None or len(data.shape) not in {3, 4}:
        return "it slices a tensor of other than 3 or 4 dimensions"
    for mask in ("ellipsisMask", "newAxisMask", "shrinkAxisMask"):
        if op.options.get(mask, 0):
            return f"its {mask} is set"
    return None


def _softmax(op: OpView) -> str | None:
    beta = op.options.get("beta", 1.0)
    return None if beta == 1 else f"its beta is {beta}, expected 1"


def _blocks(op: OpView) -> str | None:
    size = op.options.get("blockSize", 0)
    return f"its block size is {size}, expected 2 or more" if size < 2 else _one_computed(op)


def _resize(op: OpView) -> str | None:
    if op.options.get("alignCorners") and op.options.get("halfPixelCenters"):
        return "it aligns corners and uses half pixels, expected one of them"
    return _one_computed(op)


def _dequantize(op: OpView) -> str | None:
    data = op.inputs[0]
    return "it dequantizes INT16" if data is not None and data.dtype == "INT16" else None


def _cast(op: OpView) -> str | None:
    pair = {tensor.dtype for tensor in (*op.runtime_inputs, *op.outputs)}
    floats = pair & {"FLOAT16", "FLOAT32"}
    known = pair <= {"FLOAT32", "INT32"} or ("BOOL" in pair and len(floats) == len(pair) - 1 == 1)
    return _one_computed(op) if known else f"it casts between {', '.join(sorted(pair))}"


def _gather(op: OpView) -> str | None:
    data, indices = op.inputs[0], op.input(1)
    if data is None or data.dtype == "INT32" or indices is None or indices.dtype != "INT32":
        return "it gathers INT32 values, or its indices are not INT32"
    return "its indices have other than 1 dimension" if len(indices.shape) != 1 else None


_ELEMENTWISE = (
    "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "ROUND",
    "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "TANH",
)  # fmt: skip
_OPERANDS = (
    "ATAN2", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL",
    "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "NOT_EQUAL", "POW", "RIGHT_SHIFT",
    "SQUARED_DIFFERENCE", "SUB",
)  # fmt: skip
_REDUCTIONS = (
    "MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REVERSE_V2", "SUM",
)  # fmt: skip
_FREE = ("BATCH_MATMUL", "CONCATENATION", "LEAKY_RELU", "PACK", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1",
         "SPLIT", "SPLIT_V")  # fmt: skip
_COMPUTED = ("HARD_SWISH", "QUANTIZE", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "TILE", "TRANSPOSE")
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_OPERANDS, _two_operands),
    **dict.fromkeys(_REDUCTIONS, _constant_axes),
    **dict.fromkeys(_FREE, _anything),
    **dict.fromkeys(_COMPUTED, _one_computed),
    "ADD": _broadcasting,
    "MUL": _broadcasting,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "CAST": _cast,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _convolution,
    "DENSIFY": _anything,
    "DEPTH_TO_SPACE": _blocks,
    "SPACE_TO_DEPTH": _blocks,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _pad,
    "RESIZE_BILINEAR": _resize,
    "SLICE": _slice,
    "STRIDED_SLICE": _slice,
    "SOFTMAX": _softmax,
}
