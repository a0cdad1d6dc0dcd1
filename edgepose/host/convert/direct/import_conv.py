"""Convolutions, transposed convolutions, pools, and those resizes that TensorFlow Lite computes exactly.

ONNX describes dozens of sampling rules. Both sides' rules are written out here as an interpolation matrix
along one axis (out, in); a node is converted when one of TensorFlow Lite's matrices is equal to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Value
from edgepose.host.convert.direct.onnx_import import NCHW_FROM_NHWC, NHWC_FROM_NCHW, Handler, NodeImport

Pair = tuple[int, int]


def same_padding(size: int, window: int, stride: int) -> Pair:
    """Return TensorFlow's SAME padding (begin, end) along one axis; ``window`` includes the dilation."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _pads(n: NodeImport, sizes: Pair, windows: Pair, strides: Pair) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) as the node asks, ``auto_pad`` resolved."""
    auto = n.attr("auto_pad", "NOTSET")
    if auto in {"", "NOTSET"}:
        pads = n.attr("pads", [0, 0, 0, 0])
        return (int(pads[0]), int(pads[2])), (int(pads[1]), int(pads[3]))
    if auto == "VALID":
        return (0, 0), (0, 0)
    same = [same_padding(s, w, t) for s, w, t in zip(sizes, windows, strides, strict=True)]
    if auto == "SAME_LOWER":
        same = [(end, begin) for begin, end in same]
    return same[0], same[1]


def _four_d(n: NodeImport, value: Value) -> Value:
    """Return NHWC; a 1-D signal (N, C, L) becomes an image of height 1."""
    if len(value.shape) == 3:
        value = n.reshape(value, (value.shape[0], value.shape[1], 1, value.shape[2]))
    if len(value.shape) != 4:
        raise n.unsupported(f"{len(value.shape) - 2} spatial dimensions")
    return n.transpose(value, NHWC_FROM_NCHW)


def _back(n: NodeImport, value: Value) -> Value:
    result = n.transpose(value, NCHW_FROM_NHWC)
    if len(n.x.shape) == 3:
        result = n.reshape(result, (result.shape[0], result.shape[1], result.shape[3]))
    return result


def _widen(n: NodeImport, name: str, count: int, fill: int) -> list[int]:
    """Return a spatial attribute for two axes, also where the node has one axis."""
    found = [int(v) for v in n.attr(name, [fill] * count)]
    return (
        found
        if len(found) == count
        else [fill] * (count // 2) + found
        if count == 2
        else [0, *found[:1], 0, *found[1:]]
    )


def _pad(n: NodeImport, x: Value, pads: tuple[Pair, Pair]) -> Value:
    if pads == ((0, 0), (0, 0)):
        return x
    shape = (x.shape[0], x.shape[1] + sum(pads[0]), x.shape[2] + sum(pads[1]), x.shape[3])
    return n.emit("PAD", [x], shape, pads=((0, 0), pads[0], pads[1], (0, 0)))


def _windowed(
    n: NodeImport, x: Value, kernel: Pair, strides: Pair, dilations: Pair
) -> tuple[tuple[Pair, Pair], bool]:
    """Return the padding and whether it is what SAME means."""
    one_axis = len(n.x.shape) == 3
    windows = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if one_axis and n.attr("auto_pad", "NOTSET") in {"", "NOTSET"}:
        found = n.attr("pads", [0, 0])
        pads: tuple[Pair, Pair] = ((0, 0), (int(found[0]), int(found[1])))
    else:
        pads = _pads(n, x.shape[1:3], (windows[0], windows[1]), strides)  # type: ignore[arg-type]
    same = tuple(same_padding(s, w, t) for s, w, t in zip(x.shape[1:3], windows, strides, strict=True))
    return pads, pads == same


def _out_sizes(x: Value, pads: Sequence[Pair], windows: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [
        (size + sum(pad) - window) // stride + 1
        for size, pad, window, stride in zip(x.shape[1:3], pads, windows, strides, strict=True)
    ]


def conv(n: NodeImport) -> Value:
    """Conv: CONV_2D or DEPTHWISE_CONV_2D; a padding that is not SAME becomes a PAD in front."""
    weights = n.constant(1)
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    x = _four_d(n, n.x)
    group = int(n.attr("group", 1))
    kernel = (int(weights.shape[2]), int(weights.shape[3]))
    strides = _pair(_widen(n, "strides", 2, 1))
    dilations = _pair(_widen(n, "dilations", 2, 1))
    pads, same = _windowed(n, x, kernel, strides, dilations)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = _out_sizes(x, pads, windows, strides)
    unpadded = pads == ((0, 0), (0, 0))
    if not same:
        x = _pad(n, x, pads)
    bias = n.optional_constant(2)
    out = int(weights.shape[0])
    bias_value = n.const(np.zeros(out, np.float32) if bias is None else bias)
    attrs: dict[str, Any] = {
        "padding": "VALID" if unpadded or not same else "SAME",
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h": dilations[0],
        "dilation_w": dilations[1],
        "activation": "",
    }
    shape = (x.shape[0], *sizes, out)
    if group == x.shape[3] and group > 1:
        kernels = weights.transpose(1, 2, 3, 0)
        attrs["multiplier"] = out // group
        y = n.emit(
            "DEPTHWISE_CONV_2D", [x, n.const(np.ascontiguousarray(kernels)), bias_value], shape, **attrs
        )
    else:
        kernels = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
        y = n.emit("CONV_2D", [x, n.const(kernels), bias_value], shape, **attrs)
    return _back(n, y)


def _pair(values: Sequence[int]) -> Pair:
    return int(values[0]), int(values[1])


def _dense_kernel(weights: NDArray[Any], group: int, dilations: Pair) -> NDArray[Any]:
    """Return (I, O, kh, kw) weights without groups and dilation: zeros stand where there was nothing."""
    inputs, outputs, height, width = weights.shape
    if dilations != (1, 1):
        spread = np.zeros(
            (inputs, outputs, (height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1), weights.dtype
        )
        spread[:, :, :: dilations[0], :: dilations[1]] = weights
        weights = spread
    if group == 1:
        return weights
    dense = np.zeros((inputs, outputs * group, *weights.shape[2:]), weights.dtype)
    step = inputs // group
    for index in range(group):
        rows = slice(index * step, (index + 1) * step)
        dense[rows, index * outputs : (index + 1) * outputs] = weights[rows]
    return dense


def conv_transpose(n: NodeImport) -> Value:
    """ConvTranspose: TRANSPOSE_CONV, cropped where its padding is not SAME."""
    if len(n.x.shape) != 4:
        raise n.unsupported(f"{len(n.x.shape) - 2} spatial dimensions")
    dilations = _pair(n.attr("dilations", [1, 1]))
    weights = _dense_kernel(n.constant(1), int(n.attr("group", 1)), dilations)
    x = n.transpose(n.x, NHWC_FROM_NCHW)
    strides = _pair(n.attr("strides", [1, 1]))
    kernel = _pair(weights.shape[2:])
    full = [(size - 1) * s + k for size, s, k in zip(x.shape[1:3], strides, kernel, strict=True)]
    begin, sizes = _transposed_extent(n, full)
    out = int(weights.shape[1])
    bias = n.optional_constant(2)
    operands = [x, n.const(np.ascontiguousarray(weights.transpose(1, 2, 3, 0)))]
    operands.append(n.const(np.zeros(out, np.float32) if bias is None else bias))
    attrs: dict[str, Any] = {"stride_h": strides[0], "stride_w": strides[1], "activation": ""}
    wanted = (x.shape[0], *sizes, out)
    same = all(
        -(-size // s) == inner and same_padding(size, k, s)[0] == b
        for size, s, inner, k, b in zip(sizes, strides, x.shape[1:3], kernel, begin, strict=True)
    )
    if same and (begin != [0, 0] or sizes != full):
        return _back(
            n, n.emit("TRANSPOSE_CONV", operands, wanted, padding="SAME", output_shape=wanted, **attrs)
        )
    whole = (x.shape[0], *full, out)
    y = n.emit("TRANSPOSE_CONV", operands, whole, padding="VALID", output_shape=whole, **attrs)
    if sizes != full:
        first = (0, begin[0], begin[1], 0)
        last = (x.shape[0], begin[0] + sizes[0], begin[1] + sizes[1], out)
        y = n.emit("SLICE", [y], wanted, begin=first, end=last)
    return _back(n, y)


def _transposed_extent(n: NodeImport, full: list[int]) -> tuple[list[int], list[int]]:
    """Return where the wanted part of the full result begins, and its size."""
    wanted = list(n.output_shape()[2:])
    extra = [int(v) for v in n.attr("output_padding", [0, 0])]
    auto = n.attr("auto_pad", "NOTSET")
    if n.attr("output_shape", None) is not None or auto in {"SAME_UPPER", "SAME_LOWER"}:
        total = [max(f + e - w, 0) for f, e, w in zip(full, extra, wanted, strict=True)]
        begin = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
    else:
        begin = [int(v) for v in n.attr("pads", [0, 0, 0, 0])[:2]]
    if any(b + w > f for b, w, f in zip(begin, wanted, full, strict=True)):
        raise n.unsupported("output_padding reaches beyond the kernel")
    return begin, wanted


def _replicated(n: NodeImport, x: Value, axis: int, pad: Pair) -> Value:
    """Repeat the border along ``axis``: what a maximum over a window with padding cannot see."""
    parts: list[Value] = []
    for count, position in ((pad[0], 0), (pad[1], x.shape[axis] - 1)):
        if position:
            parts.append(x)
        if not count:
            continue
        parts.extend([n.slice(x, axis, position, position + 1)] * count)
    if len(parts) == 1:
        return x
    grown = list(x.shape)
    grown[axis] += sum(pad)
    return n.emit("CONCATENATION", parts, grown, axis=axis)


def _pool(n: NodeImport, kind: str) -> Value:
    if len(n.x.shape) not in {3, 4}:
        raise n.unsupported(f"{len(n.x.shape) - 2} spatial dimensions")
    if any(int(d) != 1 for d in n.attr("dilations", [1, 1])):
        raise n.unsupported("a dilated pool")
    if len(n.node.output) > 1 and n.node.output[1]:
        raise n.unsupported("the indices of the maxima")
    x = _four_d(n, n.x)
    kernel = _pair(_widen(n, "kernel_shape", 2, 1))
    strides = _pair(_widen(n, "strides", 2, 1))
    pads, same = _windowed(n, x, kernel, strides, (1, 1))
    sizes = _out_sizes(x, pads, kernel, strides)
    wanted = n.output_shape()[2:]
    if sizes != [*([1] if len(wanted) == 1 else []), *wanted]:
        raise n.unsupported("ceil_mode that adds a window")
    attrs = {"stride_h": strides[0], "stride_w": strides[1], "filter_h": kernel[0], "filter_w": kernel[1]}
    padding = "SAME" if same and pads != ((0, 0), (0, 0)) else "VALID"
    if kind == "MAX_POOL_2D" and not same:
        x = _replicated(n, _replicated(n, x, 1, pads[0]), 2, pads[1])
    elif kind == "AVERAGE_POOL_2D" and pads != ((0, 0), (0, 0)):
        if n.attr("count_include_pad", 0):
            x, padding = _pad(n, x, pads), "VALID"
        elif not same:
            raise n.unsupported("count_include_pad=0 with a padding that is not SAME")
    return _back(
        n, n.emit(kind, [x], (x.shape[0], *sizes, x.shape[3]), padding=padding, activation="", **attrs)
    )


def global_average_pool(n: NodeImport) -> Value:
    """GlobalAveragePool."""
    axes = tuple(range(2, len(n.x.shape)))
    shape = (*n.x.shape[:2], *(1 for _ in axes))
    return n.emit("MEAN", [n.x], shape, axes=axes, keep_dims=True)


HANDLERS: dict[str, Handler] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": lambda n: _pool(n, "MAX_POOL_2D"),
    "AveragePool": lambda n: _pool(n, "AVERAGE_POOL_2D"),
    "GlobalAveragePool": global_average_pool,
}


Matrix = NDArray[np.float64]
_FLAGS = (
    {"align": False, "half_pixel": False},
    {"align": False, "half_pixel": True},
    {"align": True, "half_pixel": False},
)


def _source(rule: str, out: int, size: int, scale: float) -> NDArray[np.float64] | None:
    """Return the source coordinate of each output position by ONNX's rule, or None for another rule."""
    d = np.arange(out, dtype=np.float64)
    if rule == "asymmetric":
        return d / scale
    if rule == "half_pixel" or (rule == "pytorch_half_pixel" and out > 1):
        return (d + 0.5) / scale - 0.5
    if rule == "pytorch_half_pixel":
        return np.zeros(out)
    if rule == "align_corners":
        return d * (size - 1) / (out - 1) if out > 1 else np.zeros(out)
    return None


def _nearest(x: NDArray[np.float64], rounding: str, size: int) -> Matrix:
    rounded = {
        "floor": np.floor(x),
        "ceil": np.ceil(x),
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
    }[rounding]
    return np.eye(size)[np.clip(rounded.astype(np.int64), 0, size - 1)]


def _linear(x: NDArray[np.float64], size: int) -> Matrix:
    x = np.clip(x, 0, size - 1)
    low = np.floor(x).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    part = x - low
    rows = np.eye(size)
    return rows[low] * (1 - part)[:, None] + rows[high] * part[:, None]


def _lite(kind: str, flags: dict[str, bool], out: int, size: int) -> Matrix:
    """Return TensorFlow Lite's matrix (kernels/internal/reference/resize_*.h)."""
    d = np.arange(out, dtype=np.float64)
    ratio = (size - 1) / (out - 1) if flags["align"] and out > 1 else size / out
    if kind == "RESIZE_BILINEAR":
        return _linear((d + 0.5) * ratio - 0.5 if flags["half_pixel"] else d * ratio, size)
    position = (d + (0.5 if flags["half_pixel"] else 0.0)) * ratio
    index = np.floor(position + 0.5) if flags["align"] else np.floor(position + 1e-9)
    return np.eye(size)[np.clip(index.astype(np.int64), 0, size - 1)]


def resize(n: NodeImport) -> Value:
    """Resize of the two spatial axes, nearest or linear."""
    if len(n.x.shape) != 4:
        raise n.unsupported(f"rank {len(n.x.shape)}")
    wanted = n.output_shape()
    if wanted[:2] != n.x.shape[:2]:
        raise n.unsupported("resizing the batch or the channels")
    if n.attr("antialias", 0):
        raise n.unsupported("antialias")
    mode = n.attr("mode", "nearest")
    if mode not in {"nearest", "linear"}:
        raise n.unsupported(f"mode {mode}")
    if wanted == n.x.shape:
        return n.x
    matrices = [_onnx_matrix(n, mode, axis) for axis in (2, 3)]
    kind = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    for flags in _FLAGS:
        lite = [_lite(kind, flags, wanted[axis], n.x.shape[axis]) for axis in (2, 3)]
        if all(np.allclose(a, b, atol=1e-6) for a, b in zip(lite, matrices, strict=True)):
            x = n.transpose(n.x, NHWC_FROM_NCHW)
            shape = (wanted[0], wanted[2], wanted[3], wanted[1])
            return n.transpose(n.emit(kind, [x], shape, size=tuple(wanted[2:]), **flags), NCHW_FROM_NHWC)
    raise n.unsupported(f"TensorFlow Lite has no {mode} resize with the same sampling positions")


def _onnx_matrix(n: NodeImport, mode: str, axis: int) -> Matrix:
    size, out = n.x.shape[axis], n.output_shape()[axis]
    scale = _scale(n, axis)
    default = "asymmetric" if n.node.op_type == "Upsample" or n.opset < 11 else "half_pixel"
    rule = n.attr("coordinate_transformation_mode", default)
    source = _source(rule, out, size, out / size if scale is None else scale)
    if source is None:
        raise n.unsupported(f"coordinate_transformation_mode {rule}")
    if mode == "linear":
        return _linear(source, size)
    rounding = "floor" if default == "asymmetric" else n.attr("nearest_mode", "round_prefer_floor")
    # A coordinate that should be whole may miss it by a rounding error.
    snapped = np.where(np.abs(source - np.round(source)) < 1e-6, np.round(source), source)
    return _nearest(snapped, rounding, size)


def _scale(n: NodeImport, axis: int) -> float | None:
    position = 1 if n.node.op_type == "Upsample" or n.opset < 11 else 2
    scales: Any = n.attr("scales", None) if n.opset < 9 else n.optional_constant(position)
    if scales is None or len(scales) != len(n.x.shape):
        return None
    found = float(scales[axis])
    return found if math.isfinite(found) and found > 0 else None


RESIZE_HANDLERS: dict[str, Handler] = {"Resize": resize, "Upsample": resize}
