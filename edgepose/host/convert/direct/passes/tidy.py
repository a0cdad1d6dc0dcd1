"""Small clean-ups: free transposes, chains of reshapes, equal operators."""

from __future__ import annotations

import numpy as np

from edgepose.host.convert.direct.graph_ir import Graph, Op
from edgepose.host.convert.direct.layout import keeps_order

# A PAD in front of each convolution is fused into it by XNNPACK; one PAD in front of two is not.
_NOT_SHARED = frozenset(("PAD",))


def free_transposes_to_reshapes(graph: Graph) -> int:
    """Turn each TRANSPOSE that moves no element into a RESHAPE."""
    changes = 0
    for op in graph.ops:
        if op.kind == "TRANSPOSE" and keeps_order(op.inputs[0].shape, op.attrs["perm"]):
            op.kind, op.attrs = "RESHAPE", {"shape": op.output.shape}
            changes += 1
    return changes


def merge_reshapes(graph: Graph) -> int:
    """Read through chains of RESHAPE, and drop those that change nothing."""
    changes = 0
    for op in list(graph.ops):
        if op.kind != "RESHAPE":
            continue
        before = op.inputs[0].producer
        if before is not None and before.kind == "RESHAPE":
            graph.set_input(op, 0, before.inputs[0])
            changes += 1
        if op.inputs[0].shape == op.output.shape and _may_vanish(graph, op):
            graph.replace(op.output, op.inputs[0])
            graph.remove(op)
            changes += 1
    return changes


def _may_vanish(graph: Graph, op: Op) -> bool:
    """An output must be written by an operator of its own, and only once."""
    if not graph.is_output(op.output):
        return True
    return op.inputs[0].producer is not None and not graph.is_output(op.inputs[0])


def share_equal_operators(graph: Graph) -> int:
    """Compute the same thing once."""
    seen: dict[object, Op] = {}
    changes = 0
    for op in list(graph.ops):
        if op.kind in _NOT_SHARED or len(op.outputs) != 1 or graph.is_output(op.output):
            continue
        key = (op.kind, tuple(_identity(v.data, id(v)) for v in op.inputs), repr(sorted(op.attrs.items())))
        first = seen.setdefault(key, op)
        if first is not op:
            graph.replace(op.output, first.output)
            graph.remove(op)
            changes += 1
    return changes


def _identity(data: object, fallback: int) -> object:
    if isinstance(data, np.ndarray) and data.size <= 4096:
        return (data.shape, data.dtype.str, data.tobytes())
    return fallback


def merge_slices(graph: Graph) -> int:
    """Turn a SLICE or STRIDED_SLICE of another into one."""
    changes = 0
    for op in list(graph.ops):
        inner = op.inputs[0].producer if op.kind in {"SLICE", "STRIDED_SLICE"} else None
        if inner is None or inner.kind not in {"SLICE", "STRIDED_SLICE"}:
            continue
        rank = len(op.output.shape)
        steps_in = inner.attrs.get("strides", (1,) * rank)
        steps_out = op.attrs.get("strides", (1,) * rank)
        begin = tuple(
            b + o * s for b, o, s in zip(inner.attrs["begin"], op.attrs["begin"], steps_in, strict=True)
        )
        strides = tuple(a * b for a, b in zip(steps_in, steps_out, strict=True))
        end = tuple(b + (n - 1) * s + 1 for b, n, s in zip(begin, op.output.shape, strides, strict=True))
        graph.set_input(op, 0, inner.inputs[0])
        op.kind = "SLICE" if all(s == 1 for s in strides) else "STRIDED_SLICE"
        op.attrs = {"begin": begin, "end": end, **({} if op.kind == "SLICE" else {"strides": strides})}
        changes += 1
    return changes
