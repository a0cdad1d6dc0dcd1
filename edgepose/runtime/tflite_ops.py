"""Which TFLite ops are taken, and what their kernels take for granted.

An op that is not here is refused: control flow that runs other graphs without end, tables and variables that
outlive a run, and ops on texts are none that a pose model needs. Codes are those of ``BuiltinOperator`` and
``BuiltinOptions`` in TFLite's schema.fbs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CUSTOM = 32
# Delegates and runtimes know these by name; a runtime without them refuses the file.
CUSTOM_OPS = frozenset({"TFLite_Detection_PostProcess", "edgetpu-custom-op"})
_LARGEST_STEP = 4096
# From this quotient of scales on XNNPACK takes no quantized convolution (its create functions).
_MOST_STEP = 256.0

# Bits of an element, by TensorType: float32, float16, int32, uint8, int64, bool, int16, complex64, int8,
# float64, uint64, uint32, uint16, int4, bfloat16. Texts, resources and variants are not taken.
BITS = {
    0: 32,
    1: 16,
    2: 32,
    3: 8,
    4: 64,
    6: 8,
    7: 16,
    8: 64,
    9: 8,
    10: 64,
    12: 64,
    15: 32,
    16: 16,
    17: 4,
    18: 16,
}


@dataclass
class Tensor:
    """What the checks need of a tensor.

    Attributes:
        shape: Its sizes.
        type: Its code.
        scales: Quantization steps, empty for a float tensor.
        is_stored: Whether the file holds its values.
        is_variable: Whether it keeps its value between runs.
        values: Its integers, where it is a stored tensor of int32 or int64.
    """

    shape: tuple[int, ...]
    type: int
    scales: NDArray[np.float32]
    is_stored: bool
    is_variable: bool
    values: NDArray[np.integer] | None = field(default=None)

    @property
    def size_bytes(self) -> int:
        """Bytes of its values."""
        return -(-math.prod(self.shape) * BITS[self.type] // 8)


Given = Sequence[Tensor | None]
Options = Mapping[str, float]
Problem = Callable[[Given, Sequence[Tensor], Options], str]


def _none(_inputs: Given, _outputs: Sequence[Tensor], _options: Options) -> str:
    return ""


@dataclass(frozen=True)
class OpRule:
    """What an op must have.

    Attributes:
        name: As the schema spells it.
        least_inputs: Inputs that must be there.
        most_inputs: The most inputs.
        most_outputs: The most outputs.
        optional: Whether later inputs may be left out by -1.
        options: Its code in ``BuiltinOptions``.
        fields: Slot to name and code of ``struct`` (``v``: a vector of int32).
        defaults: Defaults of the fields that are not 0.
        problem: Says what is wrong beyond that, or nothing.
    """

    name: str
    least_inputs: int
    most_inputs: int
    most_outputs: int = 1
    optional: bool = False
    options: int = 0
    fields: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    problem: Problem = _none


def _steps(options: Options, *names: str) -> str:
    bad = [name for name in names if name in options and not 1 <= options[name] <= _LARGEST_STEP]
    return f"{bad[0]} {options[bad[0]]:.0f}" if bad else ""


def _activation(options: Options) -> str:
    activation = options.get("activation", 0)
    return "" if 0 <= activation <= 3 and 0 <= options.get("padding", 0) <= 1 else "an unknown activation"


def _convolution(channel_axis: int, data: int = 0, bias: int = 2, *, depthwise: bool = False) -> Problem:
    """Weights are stored as (out, h, w, in), depthwise ones as (1, h, w, out)."""

    def problem(inputs: Given, outputs: Sequence[Tensor], options: Options) -> str:
        image, weights = inputs[data], inputs[1]
        assert image is not None and weights is not None  # noqa: PT018, S101 - both are required inputs
        stated = _steps(options, "stride_w", "stride_h", "dilation_w", "dilation_h") or _activation(options)
        if stated:
            return stated
        if len(image.shape) != 4 or len(weights.shape) != 4 or 0 in image.shape or 0 in weights.shape:
            return f"shapes {image.shape} and {weights.shape}"
        channels = weights.shape[channel_axis]
        if not _channels_fit(image.shape[3], weights.shape, depthwise=depthwise):
            return f"{image.shape[3]} channels for weights of shape {weights.shape}"
        added = inputs[bias] if len(inputs) > bias else None
        if added is not None and added.shape != (channels,):
            return f"a bias of shape {added.shape} for {channels} channels"
        if len(outputs[0].shape) != 4 or outputs[0].shape[3] != channels:
            return f"an output of shape {outputs[0].shape} for {channels} channels"
        return _scaled(image, weights, outputs[0], channels)

    return problem


def _channels_fit(channels: int, weights: tuple[int, ...], *, depthwise: bool) -> bool:
    """Whether weights belong to an image's channels; a convolution may go group by group."""
    if depthwise:
        return weights[3] % channels == 0
    return channels % weights[3] == 0 and weights[0] % (channels // weights[3]) == 0


def _scaled(image: Tensor, weights: Tensor, output: Tensor, channels: int) -> str:
    if len(weights.scales) > 1 and len(weights.scales) != channels:
        return f"{len(weights.scales)} scales for {channels} channels"
    integer = {3, 7, 9}
    if image.type in integer and not (len(image.scales) == len(output.scales) == 1 and len(weights.scales)):
        return "integers without a scale"
    # XNNPACK refuses larger ones, and on the way back frees something twice.
    too_large = image.type in integer and (image.scales * weights.scales / output.scales).max() >= _MOST_STEP
    return "scales that no kernel can join" if too_large else ""


def _pool(inputs: Given, _outputs: Sequence[Tensor], options: Options) -> str:
    image = inputs[0]
    if image is None or len(image.shape) != 4 or 0 in image.shape:
        return "an input that is no picture"
    return _steps(options, "stride_w", "stride_h", "filter_w", "filter_h") or _activation(options)


def _dense(inputs: Given, outputs: Sequence[Tensor], options: Options) -> str:
    values, weights = inputs[0], inputs[1]
    assert values is not None and weights is not None  # noqa: PT018, S101 - both are required inputs
    if len(weights.shape) != 2 or 0 in weights.shape or 0 in values.shape or not values.shape:
        return f"weights of shape {weights.shape}"
    added = inputs[2] if len(inputs) > 2 else None
    if added is not None and added.shape not in {(weights.shape[0],), (1, weights.shape[0])}:
        return f"a bias of shape {added.shape} for {weights.shape[0]} numbers"
    count = 1
    for size in values.shape:
        count *= size
    if count % weights.shape[1] or options.get("format", 0):
        return f"an input of shape {values.shape} for weights of shape {weights.shape}"
    return _activation(options) or _scaled(values, weights, outputs[0], weights.shape[0])


def _axis(_inputs: Given, outputs: Sequence[Tensor], options: Options) -> str:
    rank = len(outputs[0].shape) + 1
    return "" if -rank <= options.get("axis", 0) <= rank else f"axis {options['axis']:.0f}"


def _elementwise(inputs: Given, outputs: Sequence[Tensor], options: Options) -> str:
    first, second = inputs[0], inputs[1]
    assert first is not None and second is not None  # noqa: PT018, S101 - both are required inputs
    for a, b in zip(reversed(first.shape), reversed(second.shape), strict=False):
        if a != b and 1 not in {a, b}:
            return f"shapes {first.shape} and {second.shape}"
    if first.type != second.type:
        return "operands of two types"
    if first.type in {3, 7, 9} and not all(len(t.scales) == 1 for t in (first, second, *outputs[:1])):
        return _activation(options) or ("integers without a scale" if options.get("scaled") else "")
    return _activation(options)


def _blocks(_inputs: Given, _outputs: Sequence[Tensor], options: Options) -> str:
    return _steps(options, "block")


def _op(name: str, least: int, most: int | None = None, **more: object) -> OpRule:
    return OpRule(name, least, least if most is None else most, **more)  # type: ignore[arg-type]


_FUSED = {0: ("activation", "b")}
_CONV = {
    0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("activation", "b"),
    4: ("dilation_w", "i"), 5: ("dilation_h", "i"), 6: ("bias_type", "b"),
}  # fmt: skip
_DEPTHWISE = {
    0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("multiplier", "i"),
    4: ("activation", "b"), 5: ("dilation_w", "i"), 6: ("dilation_h", "i"),
}  # fmt: skip
_UNDILATED = {"dilation_w": 1, "dilation_h": 1}
_TRANSPOSED = {
    0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("activation", "b"),
    4: ("bias_type", "b"),
}  # fmt: skip
_POOL = {
    0: ("padding", "b"), 1: ("stride_w", "i"), 2: ("stride_h", "i"), 3: ("filter_w", "i"),
    4: ("filter_h", "i"), 5: ("activation", "b"),
}  # fmt: skip
_REDUCED = {0: ("keep", "B")}
_SLICE = {n: (f"mask{n}", "i") for n in range(5)} | {5: ("offset", "B")}

OPS: dict[int, OpRule] = {
    0: _op("ADD", 2, options=11, fields=_FUSED, problem=_elementwise),
    1: _op("AVERAGE_POOL_2D", 1, options=5, fields=_POOL, problem=_pool),
    2: _op(
        "CONCATENATION", 1, 256, options=10, fields={0: ("axis", "i"), 1: ("activation", "b")}, problem=_axis
    ),
    3: _op(
        "CONV_2D", 2, 3, optional=True, options=1, fields=_CONV, defaults=_UNDILATED, problem=_convolution(0)
    ),
    4: _op(
        "DEPTHWISE_CONV_2D",
        2,
        3,
        optional=True,
        options=2,
        fields=_DEPTHWISE,
        defaults=_UNDILATED,
        problem=_convolution(3, depthwise=True),
    ),
    5: _op("DEPTH_TO_SPACE", 1, options=94, fields={0: ("block", "i")}, problem=_blocks),
    6: _op("DEQUANTIZE", 1, options=38),
    8: _op("FLOOR", 1),
    9: _op(
        "FULLY_CONNECTED",
        2,
        3,
        optional=True,
        options=8,
        problem=_dense,
        fields={
            0: ("activation", "b"),
            1: ("format", "b"),
            2: ("keep", "B"),
            3: ("asymmetric", "B"),
            4: ("bias_type", "b"),
        },
    ),
    11: _op("L2_NORMALIZATION", 1, options=12, fields=_FUSED),
    12: _op("L2_POOL_2D", 1, options=5, fields=_POOL, problem=_pool),
    13: _op(
        "LOCAL_RESPONSE_NORMALIZATION",
        1,
        options=13,
        fields={0: ("radius", "i"), 1: ("bias", "f"), 2: ("alpha", "f"), 3: ("beta", "f")},
    ),
    14: _op("LOGISTIC", 1),
    17: _op("MAX_POOL_2D", 1, options=5, fields=_POOL, problem=_pool),
    18: _op("MUL", 2, options=21, fields=_FUSED, problem=_elementwise),
    19: _op("RELU", 1),
    20: _op("RELU_N1_TO_1", 1),
    21: _op("RELU6", 1),
    22: _op("RESHAPE", 1, 2, options=17, fields={0: ("shape", "v")}),
    23: _op("RESIZE_BILINEAR", 2, options=15, fields={2: ("corners", "B"), 3: ("centres", "B")}),
    25: _op("SOFTMAX", 1, options=9, fields={0: ("beta", "f")}),
    26: _op("SPACE_TO_DEPTH", 1, options=19, fields={0: ("block", "i")}, problem=_blocks),
    28: _op("TANH", 1),
    34: _op("PAD", 2, options=22),
    36: _op("GATHER", 2, options=23, fields={0: ("axis", "i"), 1: ("batch", "i")}),
    37: _op("BATCH_TO_SPACE_ND", 3, options=24),
    38: _op("SPACE_TO_BATCH_ND", 3, options=25),
    39: _op("TRANSPOSE", 2, options=26),
    40: _op("MEAN", 2, options=27, fields=_REDUCED),
    41: _op("SUB", 2, options=28, fields=_FUSED, problem=_elementwise),
    42: _op("DIV", 2, options=29, fields=_FUSED, problem=_elementwise),
    43: _op("SQUEEZE", 1, options=30, fields={0: ("axes", "v")}),
    45: _op("STRIDED_SLICE", 4, options=32, fields=_SLICE),
    47: _op("EXP", 1, options=33),
    48: _op("TOPK_V2", 2, most_outputs=2, options=34),
    49: _op("SPLIT", 2, most_outputs=256, options=35, fields={0: ("parts", "i")}),
    50: _op("LOG_SOFTMAX", 1, options=36),
    53: _op("CAST", 1, options=37, fields={0: ("from", "b"), 1: ("to", "b")}),
    54: _op("PRELU", 2),
    55: _op("MAXIMUM", 2, options=39, problem=_elementwise),
    56: _op("ARG_MAX", 2, options=40, fields={0: ("type", "b")}),
    57: _op("MINIMUM", 2, options=39, problem=_elementwise),
    58: _op("LESS", 2, options=41, problem=_elementwise),
    59: _op("NEG", 1, options=42),
    60: _op("PADV2", 3, options=43),
    61: _op("GREATER", 2, options=44, problem=_elementwise),
    62: _op("GREATER_EQUAL", 2, options=45, problem=_elementwise),
    63: _op("LESS_EQUAL", 2, options=46, problem=_elementwise),
    64: _op("SELECT", 3, options=47),
    65: _op("SLICE", 3, options=48),
    66: _op("SIN", 1),
    67: _op(
        "TRANSPOSE_CONV",
        3,
        4,
        optional=True,
        options=49,
        fields=_TRANSPOSED,
        problem=_convolution(0, data=2, bias=3),
    ),
    69: _op("TILE", 2, options=51),
    70: _op("EXPAND_DIMS", 2, options=52),
    71: _op("EQUAL", 2, options=53, problem=_elementwise),
    72: _op("NOT_EQUAL", 2, options=54, problem=_elementwise),
    73: _op("LOG", 1),
    74: _op("SUM", 2, options=27, fields=_REDUCED),
    75: _op("SQRT", 1),
    76: _op("RSQRT", 1),
    77: _op("SHAPE", 1, options=55, fields={0: ("type", "b")}),
    78: _op("POW", 2, options=56, problem=_elementwise),
    79: _op("ARG_MIN", 2, options=57, fields={0: ("type", "b")}),
    81: _op("REDUCE_PROD", 2, options=27, fields=_REDUCED),
    82: _op("REDUCE_MAX", 2, options=27, fields=_REDUCED),
    83: _op("PACK", 1, 256, options=59, fields={0: ("count", "i"), 1: ("axis", "i")}, problem=_axis),
    84: _op("LOGICAL_OR", 2, options=60, problem=_elementwise),
    85: _op("ONE_HOT", 4, options=61, fields={0: ("axis", "i")}, problem=_axis),
    86: _op("LOGICAL_AND", 2, options=62, problem=_elementwise),
    87: _op("LOGICAL_NOT", 1, options=63),
    88: _op("UNPACK", 1, most_outputs=256, options=64, fields={0: ("count", "i"), 1: ("axis", "i")}),
    89: _op("REDUCE_MIN", 2, options=27, fields=_REDUCED),
    90: _op("FLOOR_DIV", 2, options=65, problem=_elementwise),
    91: _op("REDUCE_ANY", 2, options=27, fields=_REDUCED),
    92: _op("SQUARE", 1, options=66),
    93: _op("ZEROS_LIKE", 1, options=67),
    94: _op("FILL", 2, options=68),
    95: _op("FLOOR_MOD", 2, options=72, problem=_elementwise),
    96: _op("RANGE", 3, options=73),
    97: _op("RESIZE_NEAREST_NEIGHBOR", 2, options=74, fields={0: ("corners", "B"), 1: ("centres", "B")}),
    98: _op("LEAKY_RELU", 1, options=75, fields={0: ("alpha", "f")}),
    99: _op("SQUARED_DIFFERENCE", 2, options=76, problem=_elementwise),
    100: _op("MIRROR_PAD", 2, options=77, fields={0: ("mode", "b")}),
    101: _op("ABS", 1, options=78),
    102: _op("SPLIT_V", 3, most_outputs=256, options=79, fields={0: ("parts", "i")}),
    104: _op("CEIL", 1),
    105: _op("REVERSE_V2", 2, options=81),
    106: _op("ADD_N", 1, 256, options=82),
    107: _op("GATHER_ND", 2, options=83),
    108: _op("COS", 1, options=84),
    109: _op("WHERE", 1, options=85),
    110: _op("RANK", 1, options=86),
    111: _op("ELU", 1),
    114: _op("QUANTIZE", 1, options=89),
    116: _op("ROUND", 1),
    117: _op("HARD_SWISH", 1, options=91),
    120: _op("NON_MAX_SUPPRESSION_V4", 5, most_outputs=2, options=95),
    121: _op("NON_MAX_SUPPRESSION_V5", 6, most_outputs=3, options=96),
    122: _op("SCATTER_ND", 3, options=97),
    123: _op("SELECT_V2", 3, options=98),
    124: _op("DENSIFY", 1, options=99),
    126: _op(
        "BATCH_MATMUL", 2, options=101, fields={0: ("left", "B"), 1: ("right", "B"), 2: ("asymmetric", "B")}
    ),
    128: _op("CUMSUM", 2, options=102, fields={0: ("exclusive", "B"), 1: ("reverse", "B")}),
    130: _op("BROADCAST_TO", 2, options=104),
    145: _op("BROADCAST_ARGS", 2),
    150: _op("GELU", 1, options=116, fields={0: ("approximate", "B")}),
    151: _op("DYNAMIC_UPDATE_SLICE", 3, options=117),
    152: _op("RELU_0_TO_1", 1),
    156: _op("ATAN2", 2, options=122),
    158: _op("SIGN", 1, options=123),
}
