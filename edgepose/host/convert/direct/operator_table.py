"""How each operator of the IR is spelled in a TensorFlow Lite file: options, small operands, version.

Versions follow TensorFlow Lite's own rule (``op_version.cc``): the lowest one whose kernel understands
what the operator uses, so that old runtimes can read the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Op

ACTIVATIONS = {
    "": tfl.ActivationFunctionType.NONE,
    "RELU": tfl.ActivationFunctionType.RELU,
    "RELU_N1_TO_1": tfl.ActivationFunctionType.RELU_N1_TO_1,
    "RELU6": tfl.ActivationFunctionType.RELU6,
}
PADDINGS = {"SAME": tfl.Padding.SAME, "VALID": tfl.Padding.VALID}

Operands = list[NDArray[Any]]


def _int32(*keys: str) -> Callable[[Op], Operands]:
    def operands(op: Op) -> Operands:
        return [np.asarray(op.attrs[key], np.int32) for key in keys]

    return operands


def _slice(op: Op) -> Operands:
    sizes = [stop - start for start, stop in zip(op.attrs["begin"], op.attrs["end"], strict=True)]
    return [np.asarray(op.attrs["begin"], np.int32), np.asarray(sizes, np.int32)]


def _high_rank(limit: int, version: int) -> Callable[[Op], int]:
    return lambda op: version if len(op.inputs[0].shape) > limit else 1


def _resize_version(op: Op) -> int:
    return 3 if op.attrs.get("half_pixel") or (op.attrs.get("align") and op.kind.endswith("NEIGHBOR")) else 1


def _transpose_conv_version(op: Op) -> int:
    if op.attrs.get("activation"):
        return 4
    return 3 if len(op.inputs) > 2 else 1


@dataclass(frozen=True)
class Spelling:
    """One operator's row of the table.

    Attributes:
        options: Name of the options table in the schema; empty for none.
        fields: Schema field -> attribute of the IR operator.
        operands: The small constant operands that stand in ``attrs``.
        operands_first: Whether they stand before the other operands.
    """

    options: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    operands: Callable[[Op], Operands] = field(default=lambda _op: [])
    version: Callable[[Op], int] = field(default=lambda _op: 1)
    operands_first: bool = False


_CONV = (
    ("padding", "padding"),
    ("strideH", "stride_h"),
    ("strideW", "stride_w"),
    ("dilationHFactor", "dilation_h"),
    ("dilationWFactor", "dilation_w"),
    ("fusedActivationFunction", "activation"),
)
_POOL = (
    ("padding", "padding"),
    ("strideH", "stride_h"),
    ("strideW", "stride_w"),
    ("filterHeight", "filter_h"),
    ("filterWidth", "filter_w"),
    ("fusedActivationFunction", "activation"),
)
_ACTIVATION = (("fusedActivationFunction", "activation"),)
_RESIZE = (("alignCorners", "align"), ("halfPixelCenters", "half_pixel"))
_REDUCE = Spelling("ReducerOptions", (("keepDims", "keep_dims"),), _int32("axes"))

SPELLINGS: dict[str, Spelling] = {
    "ABS": Spelling("AbsOptions"),
    "ADD": Spelling("AddOptions", _ACTIVATION),
    "ARG_MAX": Spelling("ArgMaxOptions", (("outputType", "output_type"),), _int32("axis")),
    "AVERAGE_POOL_2D": Spelling("Pool2DOptions", _POOL),
    "BATCH_MATMUL": Spelling("BatchMatMulOptions", (("adjX", "adj_x"), ("adjY", "adj_y"))),
    "CAST": Spelling("CastOptions"),
    "CONCATENATION": Spelling("ConcatenationOptions", (("axis", "axis"),)),
    "CONV_2D": Spelling("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": Spelling(
        "DepthwiseConv2DOptions",
        (*_CONV, ("depthMultiplier", "multiplier")),
        version=lambda op: 2 if max(op.attrs["dilation_h"], op.attrs["dilation_w"]) > 1 else 1,
    ),
    "DEPTH_TO_SPACE": Spelling("DepthToSpaceOptions", (("blockSize", "block"),)),
    "DIV": Spelling("DivOptions", _ACTIVATION),
    "EXP": Spelling("ExpOptions"),
    "FULLY_CONNECTED": Spelling(
        "FullyConnectedOptions",
        (("keepNumDims", "keep_dims"), *_ACTIVATION),
        version=lambda op: 5 if op.attrs.get("keep_dims") else 1,
    ),
    "GATHER": Spelling("GatherOptions", (("axis", "axis"),), _int32("indices")),
    "GELU": Spelling("GeluOptions", (("approximate", "approximate"),)),
    "HARD_SWISH": Spelling("HardSwishOptions"),
    "LEAKY_RELU": Spelling("LeakyReluOptions", (("alpha", "alpha"),)),
    "LOG": Spelling(),
    "LOGISTIC": Spelling(),
    "MAXIMUM": Spelling("MaximumMinimumOptions"),
    "MAX_POOL_2D": Spelling("Pool2DOptions", _POOL),
    "MEAN": _REDUCE,
    "MINIMUM": Spelling("MaximumMinimumOptions"),
    "MUL": Spelling("MulOptions", _ACTIVATION),
    "NEG": Spelling("NegOptions"),
    "PAD": Spelling("PadOptions", (), _int32("pads"), version=_high_rank(4, 3)),
    "PADV2": Spelling(
        "PadV2Options", (), lambda op: [*_int32("pads")(op), np.asarray(op.attrs["value"], np.float32)]
    ),
    "MIRROR_PAD": Spelling("MirrorPadOptions", (("mode", "mode"),), _int32("pads")),
    "POW": Spelling("PowOptions"),
    "PRELU": Spelling(),
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "RELU": Spelling(),
    "RELU6": Spelling(),
    "RESHAPE": Spelling("ReshapeOptions", (("newShape", "shape"),), _int32("shape")),
    "RESIZE_BILINEAR": Spelling("ResizeBilinearOptions", _RESIZE, _int32("size"), _resize_version),
    "RESIZE_NEAREST_NEIGHBOR": Spelling(
        "ResizeNearestNeighborOptions", _RESIZE, _int32("size"), _resize_version
    ),
    "RSQRT": Spelling(),
    "SLICE": Spelling("SliceOptions", (), _slice, _high_rank(4, 5)),
    "SOFTMAX": Spelling("SoftmaxOptions", (("beta", "beta"),)),
    "SPACE_TO_DEPTH": Spelling("SpaceToDepthOptions", (("blockSize", "block"),)),
    "SQRT": Spelling(),
    "SQUARED_DIFFERENCE": Spelling("SquaredDifferenceOptions"),
    "STRIDED_SLICE": Spelling("StridedSliceOptions", (), _int32("begin", "end", "strides")),
    "SUB": Spelling("SubOptions", _ACTIVATION),
    "SUM": _REDUCE,
    "TANH": Spelling(),
    "TILE": Spelling("TileOptions", (), _int32("multiples")),
    "TRANSPOSE": Spelling("TransposeOptions", (), _int32("perm"), version=_high_rank(4, 4)),
    "TRANSPOSE_CONV": Spelling(
        "TransposeConvOptions",
        (("padding", "padding"), ("strideH", "stride_h"), ("strideW", "stride_w"), *_ACTIVATION),
        _int32("output_shape"),
        _transpose_conv_version,
        operands_first=True,
    ),
}


def options_of(op: Op) -> tuple[int, Any]:
    """Return the schema's options type and the filled options table of ``op`` (None where it has none)."""
    spelling = SPELLINGS[op.kind]
    if not spelling.options:
        return 0, None
    table = getattr(tfl, spelling.options + "T")()
    for schema_name, key in spelling.fields:
        value = op.attrs.get(key)
        if schema_name == "fusedActivationFunction":
            value = ACTIVATIONS[value or ""]
        elif schema_name == "padding":
            value = PADDINGS[str(value)]
        elif schema_name == "newShape":
            value = [int(d) for d in op.attrs[key]]
        elif value is None:
            value = False
        setattr(table, schema_name, value)
    return int(getattr(tfl.BuiltinOptions, spelling.options)), table
