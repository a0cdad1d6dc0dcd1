"""Resize and Upsample: only what TensorFlow Lite computes exactly.

ONNX describes dozens of sampling rules. Both sides' rules are written out here as an interpolation matrix
along one axis (out, in); a node is converted when one of TensorFlow Lite's matrices is equal to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Value
from edgepose.host.convert.direct.onnx_import import NCHW_FROM_NHWC, NHWC_FROM_NCHW, Handler, NodeImport

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
    default = "asymmetric" if n.node.op_type == "Upsample" or n.node.opset < 11 else "half_pixel"
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
    position = 1 if n.node.op_type == "Upsample" or n.node.opset < 11 else 2
    scales: Any = n.attr("scales", None) if n.node.opset < 9 else n.optional_constant(position)
    if scales is None or len(scales) != len(n.x.shape):
        return None
    found = float(scales[axis])
    return found if math.isfinite(found) and found > 0 else None


RESIZE_HANDLERS: dict[str, Handler] = {"Resize": resize, "Upsample": resize}
