"""Operators that move elements about (reshapes, slices, padding), matrix products, reductions, softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgepose.host.convert.direct.graph_ir import Value
from edgepose.host.convert.direct.import_elementwise import negative
from edgepose.host.convert.direct.onnx_import import NCHW_FROM_NHWC, NHWC_FROM_NCHW, Handler, NodeImport


def reshape(n: NodeImport) -> Value:
    """Reshape, Flatten, Squeeze and Unsqueeze: ONNX's shape inference says the result."""
    return n.reshape(n.x, n.output_shape())


def transpose(n: NodeImport) -> Value:
    """Transpose."""
    rank = len(n.x.shape)
    return n.transpose(n.x, [int(axis) for axis in n.attr("perm", list(range(rank))[::-1])])


def concat(n: NodeImport) -> Value:
    """Concat."""
    values = [n.operand(position) for position in range(len(n.inputs))]
    axis = int(n.attr("axis", 0)) % len(values[0].shape)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    return values[0] if len(values) == 1 else n.emit("CONCATENATION", values, shape, axis=axis)


def split(n: NodeImport) -> list[Value]:
    """Split: one SLICE an output."""
    axis = int(n.attr("axis", 0)) % len(n.x.shape)
    sizes = [n.output_shape(position)[axis] for position in range(len(n.node.output))]
    results, start = [], 0
    for size in sizes:
        results.append(n.slice(n.x, axis, start, start + size))
        start += size
    return results


def slice_(n: NodeImport) -> Value:
    """Slice with constant bounds and positive steps."""
    if n.opset < 10:
        starts, ends = n.attr("starts", []), n.attr("ends", [])
        axes, steps = n.attr("axes", list(range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = n.constant(1).tolist(), n.constant(2).tolist()
        axes_given, steps_given = n.optional_constant(3), n.optional_constant(4)
        axes = list(range(len(starts))) if axes_given is None else axes_given.tolist()
        steps = [1] * len(starts) if steps_given is None else steps_given.tolist()
    rank = len(n.x.shape)
    begin, end, strides = [0] * rank, list(n.x.shape), [1] * rank
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise n.unsupported(f"step {step}")
        first, last, _ = slice(start, stop).indices(n.x.shape[axis])
        begin[axis], end[axis], strides[axis] = first, max(last, first), step
    shape = [-(-(e - b) // s) for b, e, s in zip(begin, end, strides, strict=True)]
    if min(shape) < 1:
        raise n.unsupported("an empty result")
    attrs: dict[str, Any] = {"begin": tuple(begin), "end": tuple(end)}
    if all(step == 1 for step in strides):
        return n.emit("SLICE", [n.x], shape, **attrs)
    return n.emit("STRIDED_SLICE", [n.x], shape, strides=tuple(strides), **attrs)


def pad(n: NodeImport) -> Value:
    """Pad with a constant, or by reflection."""
    rank = len(n.x.shape)
    mode = n.attr("mode", "constant")
    if n.opset < 11:
        pads, value = [int(v) for v in n.attr("pads", [])], float(n.attr("value", 0.0))
    else:
        found = n.optional_constant(2)
        pads, value = n.constant(1).tolist(), 0.0 if found is None else float(found)
        axes = n.optional_constant(3)
        if axes is not None:
            pads = _spread(pads, axes.tolist(), rank)
    if min(pads) < 0:
        raise n.unsupported("a negative padding")
    rows = tuple((int(pads[axis]), int(pads[axis + rank])) for axis in range(rank))
    shape = [size + sum(row) for size, row in zip(n.x.shape, rows, strict=True)]
    if mode == "reflect":
        return n.emit("MIRROR_PAD", [n.x], shape, pads=rows, mode=0)
    if mode != "constant":
        raise n.unsupported(f"mode {mode}")
    if value == 0.0:
        return n.emit("PAD", [n.x], shape, pads=rows)
    return n.emit("PADV2", [n.x], shape, pads=rows, value=value)


def _spread(pads: list[int], axes: list[int], rank: int) -> list[int]:
    full = [0] * (2 * rank)
    for position, axis in enumerate(axes):
        full[axis % rank] = pads[position]
        full[axis % rank + rank] = pads[position + len(axes)]
    return full


def gather(n: NodeImport) -> Value:
    """Gather with constant indices: a slice where they follow each other."""
    indices = n.constant(1)
    axis = int(n.attr("axis", 0)) % len(n.x.shape)
    size = n.x.shape[axis]
    flat = [int(index) % size for index in indices.reshape(-1)]
    shape = (*n.x.shape[:axis], *indices.shape, *n.x.shape[axis + 1 :])
    if flat == list(range(flat[0], flat[0] + len(flat))):
        picked = n.slice(n.x, axis, flat[0], flat[0] + len(flat))
    else:
        kept = (*n.x.shape[:axis], len(flat), *n.x.shape[axis + 1 :])
        picked = n.emit("GATHER", [n.x], kept, axis=axis, indices=tuple(flat))
    return n.reshape(picked, shape)


def tile(n: NodeImport) -> Value:
    """Tile."""
    return _tile(n, n.x, tuple(int(v) for v in n.constant(1)))


def _tile(n: NodeImport, x: Value, multiples: tuple[int, ...]) -> Value:
    if all(m == 1 for m in multiples):
        return x
    shape = [size * m for size, m in zip(x.shape, multiples, strict=True)]
    return n.emit("TILE", [x], shape, multiples=multiples)


def expand(n: NodeImport) -> Value:
    """Expand: broadcasting, written out."""
    wanted = n.output_shape()
    x = n.reshape(n.x, (1,) * (len(wanted) - len(n.x.shape)) + n.x.shape)
    return _tile(n, x, tuple(w // size for w, size in zip(wanted, x.shape, strict=True)))


def depth_to_space(n: NodeImport) -> Value:
    """DepthToSpace; CRD order is turned into DCR, which is TensorFlow's, by a channel shuffle."""
    block = int(n.attr("blocksize", 1))
    batch, channels, height, width = n.x.shape
    inner = channels // (block * block)
    x = n.x
    if n.attr("mode", "DCR") == "CRD":
        x = n.reshape(x, (batch, inner, block * block, height, width))
        x = n.reshape(n.transpose(x, (0, 2, 1, 3, 4)), n.x.shape)
    x = n.transpose(x, NHWC_FROM_NCHW)
    y = n.emit("DEPTH_TO_SPACE", [x], (batch, height * block, width * block, inner), block=block)
    return n.transpose(y, NCHW_FROM_NHWC)


def space_to_depth(n: NodeImport) -> Value:
    """SpaceToDepth."""
    block = int(n.attr("blocksize", 1))
    batch, channels, height, width = n.x.shape
    x = n.transpose(n.x, NHWC_FROM_NCHW)
    shape = (batch, height // block, width // block, channels * block * block)
    return n.transpose(n.emit("SPACE_TO_DEPTH", [x], shape, block=block), NCHW_FROM_NHWC)


def constant(n: NodeImport) -> Value:
    """Constant that was not folded."""
    if n.attr("value", None) is None:
        raise n.unsupported("a constant without a tensor")
    return n.graph.constant(np.asarray(n.attr("value", None)), n.node.output[0])


HANDLERS: dict[str, Handler] = {
    "Concat": concat,
    "Constant": constant,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": reshape,
    "Gather": gather,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}


def _fully_connected(n: NodeImport, x: Value, weights: Value, bias: Value | None) -> Value:
    """Multiply the last axis of ``x`` by constant ``weights`` (out, in)."""
    out = weights.shape[0]
    operands = [x, weights, bias if bias is not None else n.const(np.zeros(out, np.float32))]
    shape = (*x.shape[:-1], out)
    return n.emit("FULLY_CONNECTED", operands, shape, keep_dims=len(x.shape) > 2, activation="")


def gemm(n: NodeImport) -> Value:
    """Gemm with constant weights."""
    alpha, beta = float(n.attr("alpha", 1.0)), float(n.attr("beta", 1.0))
    x = n.transpose(n.x, (1, 0)) if n.attr("transA", 0) else n.x
    weights = n.constant(1)
    rows = weights if n.attr("transB", 0) else weights.T
    bias = n.optional_constant(2)
    summand = None
    if bias is not None:
        if bias.size not in {1, rows.shape[0]} or (bias.ndim == 2 and bias.shape[0] != 1):
            raise n.unsupported(f"a summand of shape {list(bias.shape)}")
        summand = n.const(np.broadcast_to(bias.reshape(-1) * np.float32(beta), (rows.shape[0],)).copy())
    return _fully_connected(n, x, n.const(np.ascontiguousarray(rows) * np.float32(alpha)), summand)


def matmul(n: NodeImport) -> Value:
    """MatMul: FULLY_CONNECTED for a constant right side, else BATCH_MATMUL."""
    a, b = n.operand(0), n.operand(1)
    if b.data is not None and b.data.ndim == 2 and len(a.shape) >= 2:
        return _fully_connected(n, a, n.const(np.ascontiguousarray(b.data.T)), None)
    if len(a.shape) < 2 or len(b.shape) < 2 or max(len(a.shape), len(b.shape)) > 5:
        raise n.unsupported(f"ranks {len(a.shape)} and {len(b.shape)}")
    return n.emit("BATCH_MATMUL", [a, b], n.output_shape(), dtype=np.float32, adj_x=False, adj_y=False)


def _axes(n: NodeImport, from_input: int) -> tuple[int, ...] | None:
    rank = len(n.x.shape)
    found = (
        n.constant(1).tolist()
        if n.opset >= from_input and n.optional(1) is not None
        else n.attr("axes", None)
    )
    if found is None or found == []:
        return None if n.attr("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in found))


def _reduced(n: NodeImport, kind: str, x: Value, axes: tuple[int, ...], *, keep: bool) -> Value:
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    kept = n.emit(kind, [x], shape, axes=axes, keep_dims=True)
    return kept if keep else n.reshape(kept, [size for axis, size in enumerate(x.shape) if axis not in axes])


def reduce(kind: str, from_input: int) -> Handler:
    """Return the handler of a reduction whose axes are an input from opset ``from_input`` on."""

    def handler(n: NodeImport) -> Value:
        axes = _axes(n, from_input)
        return n.x if axes is None else _reduced(n, kind, n.x, axes, keep=bool(n.attr("keepdims", 1)))

    return handler


def reduce_max(n: NodeImport) -> Value:
    """ReduceMax: max(x) is -min(-x), because the int8 quantizer knows no REDUCE_MAX."""
    axes = _axes(n, 18)
    if axes is None:
        return n.x
    keep = bool(n.attr("keepdims", 1))
    if n.x.dtype != np.float32:
        return _reduced(n, "REDUCE_MAX", n.x, axes, keep=keep)
    return negative(n, _reduced(n, "REDUCE_MIN", negative(n, n.x), axes, keep=keep))


def global_max_pool(n: NodeImport) -> Value:
    """GlobalMaxPool, likewise."""
    axes = tuple(range(2, len(n.x.shape)))
    return negative(n, _reduced(n, "REDUCE_MIN", negative(n, n.x), axes, keep=True))


def reduce_l2(n: NodeImport) -> Value:
    """ReduceL2: the root of the sum of squares."""
    axes = _axes(n, 18)
    if axes is None:
        raise n.unsupported("no axes")
    squares = n.emit("MUL", [n.x, n.x], n.x.shape)
    total = _reduced(n, "SUM", squares, axes, keep=bool(n.attr("keepdims", 1)))
    return n.emit("SQRT", [total], total.shape)


def softmax(n: NodeImport) -> Value:
    """Softmax; TensorFlow Lite has it for the last axis, so another axis is moved there and back."""
    rank = len(n.x.shape)
    axis = int(n.attr("axis", -1 if n.opset >= 13 else 1)) % rank
    if n.opset < 13 and axis != rank - 1:  # the old rule: everything from the axis on is one axis
        flat = (math.prod(n.x.shape[:axis]), math.prod(n.x.shape[axis:]))
        return n.reshape(n.emit("SOFTMAX", [n.reshape(n.x, flat)], flat, beta=1.0), n.x.shape)
    perm = [a for a in range(rank) if a != axis] + [axis]
    moved = n.transpose(n.x, perm)
    result = n.emit("SOFTMAX", [moved], moved.shape, beta=1.0)
    return n.transpose(result, [perm.index(a) for a in range(rank)])


def arg_max(n: NodeImport) -> Value:
    """ArgMax; the first of equal maxima, as int64."""
    if n.attr("select_last_index", 0):
        raise n.unsupported("select_last_index")
    rank = len(n.x.shape)
    axis = int(n.attr("axis", 0)) % rank
    shape = [size for a, size in enumerate(n.x.shape) if a != axis]
    y = n.emit("ARG_MAX", [n.x], shape, dtype=np.int64, axis=axis, output_type=4)
    if not n.attr("keepdims", 1):
        return y
    return n.reshape(y, [1 if a == axis else size for a, size in enumerate(n.x.shape)])


REDUCE_HANDLERS: dict[str, Handler] = {
    "ArgMax": arg_max,
    "Gemm": gemm,
    "GlobalMaxPool": global_max_pool,
    "MatMul": matmul,
    "ReduceL2": reduce_l2,
    "ReduceMax": reduce_max,
    "ReduceMean": reduce("MEAN", 18),
    "ReduceMin": reduce("REDUCE_MIN", 18),
    "ReduceSum": reduce("SUM", 13),
    "Softmax": softmax,
}
