"""Matrix products, reductions and softmax."""

from __future__ import annotations

import math

import numpy as np

from edgepose.host.convert.direct.graph_ir import Value
from edgepose.host.convert.direct.import_elementwise import negative
from edgepose.host.convert.direct.onnx_import import Handler, NodeImport


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
        if n.node.opset >= from_input and n.optional(1) is not None
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
    axis = int(n.attr("axis", -1 if n.node.opset >= 13 else 1)) % rank
    if n.node.opset < 13 and axis != rank - 1:  # the old rule: everything from the axis on is one axis
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
