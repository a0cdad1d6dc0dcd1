"""The published rules of the Edge TPU, op by op.

Source: "TensorFlow models on the Edge TPU", coral.ai/docs/edgetpu/models-intro, sections "Model
requirements" and "Supported operations" (runtime version 14, compiler 16).

Documented: static shapes; 8-bit quantized tensors; parameters that are constant when the model is
compiled; tensors of up to three dimensions, or more where only the three innermost are larger than 1; the
table of ops with their limits.

Measured: MoveNet Lightning, whose compiled file Google ships. These rules and the partition rule of
``edgetpu`` leave exactly the ops to the CPU that the compiler left there (59 of 157). That also
shows what the document does not say: constants that are added or multiplied are taken, resizing by half
pixels is taken, and constant weights may have four dimensions.

Not covered, because the document gives no figure: "certain reshapes", resizing "depending on the size",
transpositions that the compiler lists as supported and still leaves out, and activations that are too large.
So a prediction is no claim: only the compiler's own log is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgepose.host.quantize.delegates.op_view import OpView, TensorView

Rule = Callable[[OpView], str | None]

_EIGHT_BIT = frozenset({"INT8", "UINT8"})
_INNERMOST = 3
_SOFTMAX_LARGEST = 16_000
# Mean along the channels: their number must be a multiple of this.
_MEAN_CHANNEL_STEP = 4
# Compiler 16 stops at a TRANSPOSE_CONV of version 4 (github.com/google-coral/edgetpu/issues/845).
_TRANSPOSE_CONV_LAST_VERSION = 3


def edgetpu_reason(op: OpView) -> str | None:
    """Says why the Edge TPU does not take an op, or None where the published rules allow it."""
    if op.name not in _RULES:
        return "the Edge TPU has no such operation"
    for position in _PARAMETERS.get(op.name, ()):
        parameter = op.input(position)
        if parameter is not None and not parameter.constant:
            return f"its parameter '{parameter.name}' is computed, expected a constant"
    for tensor in (*op.runtime_inputs, *op.outputs):
        reason = _activation_reason(tensor)
        if reason:
            return reason
    return _weights_reason(op) or _RULES[op.name](op)


def _activation_reason(tensor: TensorView) -> str | None:
    if tensor.open_size:
        return f"tensor '{tensor.name}' has an open size, expected fixed ones"
    if tensor.dtype not in _EIGHT_BIT:
        return f"tensor '{tensor.name}' is {tensor.dtype}, expected INT8 or UINT8"
    if any(size > 1 for size in tensor.shape[:-_INNERMOST]):
        return (
            f"tensor '{tensor.name}' has shape {list(tensor.shape)}, expected sizes above 1 only in the "
            f"{_INNERMOST} innermost dimensions"
        )
    return None


def _weights_reason(op: OpView) -> str | None:
    if op.name not in _BIAS:
        return None
    bias = op.input(_BIAS[op.name])
    if bias is not None and bias.dtype != "INT32":
        return f"its bias '{bias.name}' is {bias.dtype}, expected INT32"
    weights = op.input(1)
    if weights is not None and weights.dtype not in _EIGHT_BIT:
        return f"its weights '{weights.name}' are {weights.dtype}, expected INT8 or UINT8"
    return None


def _anything(_op: OpView) -> str | None:
    return None


def _no_fused_activation(op: OpView) -> str | None:
    return "it has a fused activation" if op.options.get("fusedActivationFunction") else None


def _concatenation(op: OpView) -> str | None:
    constants = op.constant_inputs
    if not constants:
        return _no_fused_activation(op)
    zero = {tensor.name: tensor.zero_points[0] if tensor.zero_points else 0 for tensor in constants}
    padding = all(
        tensor.values is not None and np.all(tensor.values == zero[tensor.name]) for tensor in constants
    )
    if len(op.inputs) != 2 or not padding:
        return "it joins a constant, allowed only as zero padding with one other input"
    return _no_fused_activation(op)


def _convolution(op: OpView) -> str | None:
    tensor, weights = op.inputs[0], op.input(1)
    if tensor is not None and weights is not None and op.name == "CONV_2D":
        channels, expected = weights.shape[-1], tensor.shape[-1]
        if channels != expected:
            return f"a grouped convolution ({channels} of {expected} channels each) is not documented"
    return _same_dilation(op)


def _same_dilation(op: OpView) -> str | None:
    wide, high = op.options.get("dilationWFactor", 1), op.options.get("dilationHFactor", 1)
    return None if wide == high else f"its dilation is {wide} in x and {high} in y, expected the same"


def _fully_connected(op: OpView) -> str | None:
    if op.options.get("weightsFormat", 0):
        return "its weights are shuffled, expected the default format"
    return _one_dimensional(op.outputs[0], "output")


def _one_dimensional(tensor: TensorView, what: str) -> str | None:
    if sum(size > 1 for size in tensor.shape) > 1:
        return f"its {what} has shape {list(tensor.shape)}, expected one dimension"
    return None


def _softmax(op: OpView) -> str | None:
    tensor = op.outputs[0]
    elements = int(np.prod(tensor.shape))
    if elements > _SOFTMAX_LARGEST:
        return f"its input has {elements} elements, expected at most {_SOFTMAX_LARGEST}"
    return _one_dimensional(tensor, "input")


def _axes(op: OpView, position: int = 1) -> set[int]:
    """The axes that a constant input names, counted from the front."""
    tensor, data = op.input(position), op.inputs[0]
    if tensor is None or tensor.values is None or data is None:
        return set()
    return {int(axis) % max(len(data.shape), 1) for axis in np.atleast_1d(tensor.values)}


def _reduction(op: OpView) -> str | None:
    """Tensors of fewer than four dimensions have no batch."""
    data = op.inputs[0]
    if data is not None and len(data.shape) > _INNERMOST and 0 in _axes(op):
        return "it reduces the batch dimension"
    return None


def _mean(op: OpView) -> str | None:
    data = op.inputs[0]
    if data is not None and len(data.shape) - 1 in _axes(op) and data.shape[-1] % _MEAN_CHANNEL_STEP:
        return f"it averages {data.shape[-1]} channels, expected a multiple of {_MEAN_CHANNEL_STEP}"
    return _reduction(op)


def _pad(op: OpView) -> str | None:
    paddings = op.input(1)
    if paddings is None or paddings.values is None:
        return None
    per_axis = paddings.values.reshape(-1, 2)
    return "it pads the batch dimension" if len(per_axis) > _INNERMOST and per_axis[0].any() else None


def _split(op: OpView) -> str | None:
    data = op.input(1)
    if data is not None and len(data.shape) > _INNERMOST:
        axis = op.inputs[0]
        if axis is not None and axis.values is not None and int(axis.values[0]) % len(data.shape) == 0:
            return "it splits the batch dimension"
    return None


def _pack(op: OpView) -> str | None:
    rank = len(op.outputs[0].shape)
    return (
        "it packs the batch dimension"
        if rank > _INNERMOST and op.options.get("axis", 0) % rank == 0
        else None
    )


def _prelu(op: OpView) -> str | None:
    alpha = op.input(1)
    if alpha is not None and any(size > 1 for size in alpha.shape[:-1]):
        return f"its slopes have shape {list(alpha.shape)}, expected one for each channel"
    return None


def _strided_slice(op: OpView) -> str | None:
    strides = op.input(3)
    if strides is not None and strides.values is not None and np.any(strides.values != 1):
        return f"its strides are {strides.values.tolist()}, expected all 1"
    for mask in ("ellipsisMask", "newAxisMask"):
        if op.options.get(mask, 0):
            return f"its {mask} is set"
    return None


def _transpose_conv(op: OpView) -> str | None:
    if op.version > _TRANSPOSE_CONV_LAST_VERSION:
        return f"compiler 16 does not read version {op.version} of this op"
    return None


_WITHOUT_LIMITS = (
    "ADD", "EXPAND_DIMS", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE", "RELU",
    "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE",
    "SPACE_TO_DEPTH", "SQUARED_DIFFERENCE", "SQUEEZE", "SUB", "TANH", "TRANSPOSE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)  # fmt: skip
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_WITHOUT_LIMITS, _anything),
    "AVERAGE_POOL_2D": _no_fused_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _no_fused_activation,
    "MEAN": _mean,
    "PACK": _pack,
    "PAD": _pad,
    "PRELU": _prelu,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUM": _reduction,
    "TRANSPOSE_CONV": _transpose_conv,
}
_ONE_PARAMETER = (
    "EXPAND_DIMS", "MEAN", "PAD", "PRELU", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SUM", "TRANSPOSE",
)  # fmt: skip
# Inputs that must be stored in the file: weights, bias, shapes, axes, paddings.
_PARAMETERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_ONE_PARAMETER, (1,)),
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "SLICE": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
    "TRANSPOSE_CONV": (0, 1, 3),
}
# Position of the bias of an op whose weights stand at position 1.
_BIAS: dict[str, int] = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
