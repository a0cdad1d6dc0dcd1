"""Moves TRANSPOSE operators down the graph until they meet their inverse or have no meaning any more.

A TRANSPOSE in front of an operator that does not care about axis order is the same as a TRANSPOSE behind it.
Nothing else is needed to turn a graph of NCHW tensors into one of NHWC tensors: each convolution brings a
pair of them, and all those between two convolutions cancel.

What a RESHAPE does to axes: which ones it merges and splits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose.host.convert.direct.graph_ir import Graph, Op, Shape, Value
from edgepose.runtime.wire_formats import names_in

Group = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class MovedReshape:
    """A TRANSPOSE moved behind a RESHAPE.

    Attributes:
        local: Permutation of x that stays in front: it orders axes inside the groups that are merged.
        shape: What x is then reshaped to.
        perm: Permutation that follows.
    """

    local: tuple[int, ...]
    shape: Shape
    perm: tuple[int, ...]


def reshape_groups(before: Sequence[int], after: Sequence[int]) -> list[Group]:
    """Return the smallest groups (axes before, axes after) of equal size; those of size 1 are in none."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[Group] = []
    i = j = 0
    while i < len(left) and j < len(right):
        ins, outs = [left[i]], [right[j]]
        size_in, size_out = before[left[i]], after[right[j]]
        i, j = i + 1, j + 1
        while size_in != size_out:
            if size_in < size_out:
                size_in *= before[left[i]]
                ins.append(left[i])
                i += 1
            else:
                size_out *= after[right[j]]
                outs.append(right[j])
                j += 1
        groups.append((tuple(ins), tuple(outs)))
    return groups


def moved_reshape(before: Shape, after: Shape, perm: Sequence[int]) -> MovedReshape | None:
    """Turn RESHAPE(TRANSPOSE(x, perm)) into TRANSPOSE(RESHAPE(TRANSPOSE(x, local))).

    Args:
        before: Shape of the transposed value.
        after: Shape of the result.
        perm: The TRANSPOSE's permutation: axis i of ``before`` is axis ``perm[i]`` of x.

    Returns:
        The rewrite, or None where the axes of a group are not neighbours in x.
    """
    groups = reshape_groups(before, after)
    placed = sorted((axis for axis, size in enumerate(before) if size != 1), key=lambda axis: perm[axis])
    position = {axis: index for index, axis in enumerate(placed)}
    groups.sort(key=lambda group: min(position[axis] for axis in group[0]))
    start = 0
    for ins, _ in groups:
        if sorted(position[axis] for axis in ins) != list(range(start, start + len(ins))):
            return None
        start += len(ins)
    local = _local_order([perm[axis] for ins, _ in groups for axis in ins], len(before))
    order = _with_unit_axes(after, [axis for _, outs in groups for axis in outs])
    shape = tuple(after[axis] for axis in order)
    return MovedReshape(local, shape, tuple(order.index(axis) for axis in range(len(after))))


def _local_order(wanted: list[int], rank: int) -> tuple[int, ...]:
    """Return the permutation that puts the axes ``wanted`` in this order and leaves the others alone."""
    slots = iter(wanted)
    return tuple(next(slots) if axis in wanted else axis for axis in range(rank))


def _with_unit_axes(after: Shape, wanted: list[int]) -> list[int]:
    """Place the axes of size 1 among ``wanted`` so that the layout is a usual one where possible."""
    rank = len(after)
    usual = [list(range(rank))]
    if rank == 4:
        usual.insert(0, [0, 2, 3, 1])
    for candidate in usual:
        if [axis for axis in candidate if after[axis] != 1] == wanted:
            return candidate
    units = [axis for axis in range(rank) if after[axis] == 1]
    return units + wanted if units != [0] else [0, *wanted]


Perm = tuple[int, ...]

UNARY = names_in("ABS CAST ERF EXP GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC NEG RELU RELU6 RSQRT SQRT TANH")
BINARY = names_in("ADD SUB MUL DIV MAXIMUM MINIMUM POW SQUARED_DIFFERENCE PRELU")
REDUCE = frozenset(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"))


def inverse(perm: Sequence[int]) -> Perm:
    """Return the permutation that undoes ``perm``."""
    return tuple(int(i) for i in np.argsort(perm))


def keeps_order(shape: Shape, perm: Sequence[int]) -> bool:
    """Whether permuting ``shape`` by ``perm`` only moves axes of size 1, which moves no element."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def transposed_from(value: Value) -> tuple[Value, Perm] | None:
    """Return (source, perm) where ``value`` is a TRANSPOSE's output."""
    op = value.producer
    return (op.inputs[0], tuple(op.attrs["perm"])) if op is not None and op.kind == "TRANSPOSE" else None


class _Sinker:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.queue: deque[Op] = deque(graph.ops)
        self.queued = {id(op) for op in graph.ops}
        self.alive = {id(op) for op in graph.ops}

    def emit(
        self, kind: str, inputs: Sequence[Value], shape: Sequence[int], attrs: dict[str, Any], like: Op
    ) -> Value:
        return self._taken(
            self.graph.emit(kind, inputs, shape, attrs, origin=like.origin, dtype=like.output.dtype)
        )

    def _taken(self, value: Value) -> Value:
        assert value.producer is not None  # noqa: S101  (emit has just set it)
        self.alive.add(id(value.producer))
        self._enqueue(value.producer)
        return value

    def transpose(self, value: Value, perm: Perm, like: Op) -> Value:
        if value.data is not None:
            return self.graph.constant(np.ascontiguousarray(value.data.transpose(perm)), value.name + "_t")
        if perm == tuple(range(len(perm))):
            return value
        shape = [value.shape[p] for p in perm]
        return self._taken(self.graph.emit("TRANSPOSE", [value], shape, {"perm": perm}, origin=like.origin))

    def finish(self, op: Op, result: Value) -> None:
        for user in op.output.users:
            self._enqueue(user)
        self.graph.replace(op.output, result)
        self.alive.discard(id(op))
        self.graph.remove(op)
        for user in result.users:
            self._enqueue(user)

    def _enqueue(self, op: Op) -> None:
        if id(op) not in self.queued:
            self.queued.add(id(op))
            self.queue.append(op)

    def run(self) -> int:
        changes = 0
        while self.queue:
            op = self.queue.popleft()
            self.queued.discard(id(op))
            rule = _RULES.get(op.kind)
            if id(op) in self.alive and rule is not None and rule(self, op):
                changes += 1
        return changes


def _axis_rule(mapped: Callable[[Op, Perm], dict[str, Any]]) -> Callable[[_Sinker, Op], bool]:
    """Return a rule for an operator with one activation, whose attributes are changed by ``mapped``."""

    def rule(sinker: _Sinker, op: Op) -> bool:
        found = transposed_from(op.inputs[0])
        if found is None:
            return False
        source, perm = found
        attrs = {**op.attrs, **mapped(op, perm)}
        shape = [op.output.shape[i] for i in inverse(perm)]
        result = sinker.emit(op.kind, [source, *op.inputs[1:]], shape, attrs, op)
        sinker.finish(op, sinker.transpose(result, perm, op))
        return True

    return rule


def _rows(*keys: str) -> Callable[[Op, Perm], dict[str, Any]]:
    return lambda op, perm: {key: tuple(op.attrs[key][i] for i in inverse(perm)) for key in keys}


def _transpose(sinker: _Sinker, op: Op) -> bool:
    found = transposed_from(op.inputs[0])
    if found is None:
        return False
    source, first = found
    sinker.finish(op, sinker.transpose(source, tuple(first[i] for i in op.attrs["perm"]), op))
    return True


def _full_rank(sinker: _Sinker, value: Value, rank: int, like: Op) -> Value:
    if len(value.shape) in {0, rank}:
        return value
    shape = (1,) * (rank - len(value.shape)) + value.shape
    if value.data is not None:
        return sinker.graph.constant(value.data.reshape(shape), value.name + "_r")
    return sinker.emit("RESHAPE", [value], shape, {"shape": shape}, like)


def _many(sinker: _Sinker, op: Op) -> bool:
    """Elementwise operators and CONCATENATION: all operands must be permuted alike."""
    rank = len(op.output.shape)
    activations = [value for value in op.inputs if value.data is None]
    found = [transposed_from(value) for value in activations if len(value.shape) == rank]
    counts = Counter(item[1] for item in found if item is not None)
    if not counts:
        return False
    perm, count = counts.most_common(1)[0]
    undo = inverse(perm)
    others = [v for v in activations if (t := transposed_from(v)) is None or t[1] != perm]
    costly = [v for v in others if len(v.shape) == rank and not keeps_order(v.shape, undo)]
    # With as many that must be permuted anew as are freed, only the direction towards NHWC is a gain.
    if len(costly) > count or (len(costly) == count and not (perm[1] == rank - 1 and undo[1] != rank - 1)):
        return False
    operands = []
    for value in op.inputs:
        full = _full_rank(sinker, value, rank, op)
        source = transposed_from(full)
        if not full.shape:
            operands.append(full)
        elif source is not None and source[1] == perm:
            operands.append(source[0])
        elif full.data is None and keeps_order(full.shape, undo):
            shape = tuple(full.shape[i] for i in undo)
            operands.append(sinker.emit("RESHAPE", [full], shape, {"shape": shape}, op))
        else:
            operands.append(sinker.transpose(full, undo, op))
    attrs = dict(op.attrs)
    if op.kind == "CONCATENATION":
        attrs["axis"] = perm[attrs["axis"]]
    result = sinker.emit(op.kind, operands, [op.output.shape[i] for i in undo], attrs, op)
    sinker.finish(op, sinker.transpose(result, perm, op))
    return True


def _last_axis(sinker: _Sinker, op: Op) -> bool:
    """SOFTMAX and FULLY_CONNECTED work on the last axis: it must stay last."""
    found = transposed_from(op.inputs[0])
    if op.kind == "FULLY_CONNECTED" and _flattened(sinker, op):
        return True
    if found is None or found[1][-1] != len(found[1]) - 1:
        return False
    return _axis_rule(lambda _op, _perm: {})(sinker, op)


def _flattened(sinker: _Sinker, op: Op) -> bool:
    """RESHAPE(TRANSPOSE(x)) to one row in front of constant weights: permute the weights' columns."""
    flatten = op.inputs[0].producer
    if flatten is None or flatten.kind != "RESHAPE" or op.inputs[0].shape != (1, op.inputs[1].shape[1]):
        return False
    found = transposed_from(flatten.inputs[0])
    weights = op.inputs[1].data
    if found is None or weights is None:
        return False
    source, perm = found
    columns = weights.reshape(weights.shape[0], *flatten.inputs[0].shape)
    columns = columns.transpose(0, *(1 + i for i in inverse(perm))).reshape(weights.shape)
    flat = sinker.emit("RESHAPE", [source], op.inputs[0].shape, dict(flatten.attrs), flatten)
    operands = [flat, sinker.graph.constant(np.ascontiguousarray(columns)), *op.inputs[2:]]
    sinker.finish(op, sinker.emit(op.kind, operands, op.output.shape, dict(op.attrs), op))
    return True


def _arg_max(sinker: _Sinker, op: Op) -> bool:
    found = transposed_from(op.inputs[0])
    if found is None:
        return False
    source, perm = found
    axis = perm[op.attrs["axis"]]
    left = [p - (p > axis) for i, p in enumerate(perm) if i != op.attrs["axis"]]
    shape = [size for a, size in enumerate(source.shape) if a != axis]
    result = sinker.emit(op.kind, [source], shape, {**op.attrs, "axis": axis}, op)
    sinker.finish(op, sinker.transpose(result, tuple(left), op))
    return True


def _reshape(sinker: _Sinker, op: Op) -> bool:
    found = transposed_from(op.inputs[0])
    if found is None:
        return False
    source, perm = found
    moved = moved_reshape(op.inputs[0].shape, op.output.shape, perm)
    if moved is None or moved.local == perm:
        return False
    ordered = sinker.transpose(source, moved.local, op)
    result = sinker.emit("RESHAPE", [ordered], moved.shape, {"shape": moved.shape}, op)
    sinker.finish(op, sinker.transpose(result, moved.perm, op))
    return True


def _batch_matmul(sinker: _Sinker, op: Op) -> bool:
    """A right operand whose last two axes are swapped needs no TRANSPOSE."""
    found = transposed_from(op.inputs[1])
    rank = len(op.inputs[1].shape)
    if found is None or found[1] != (*range(rank - 2), rank - 1, rank - 2):
        return False
    sinker.graph.set_input(op, 1, found[0])
    op.attrs["adj_y"] = not op.attrs["adj_y"]
    return True


_RULES: dict[str, Callable[[_Sinker, Op], bool]] = {
    **dict.fromkeys(UNARY, _axis_rule(lambda _op, _perm: {})),
    **dict.fromkeys((*BINARY, "CONCATENATION"), _many),
    **dict.fromkeys(
        REDUCE, _axis_rule(lambda op, perm: {"axes": tuple(sorted(perm[a] for a in op.attrs["axes"]))})
    ),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _axis_rule(_rows("pads"))),
    "ARG_MAX": _arg_max,
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _last_axis,
    "GATHER": _axis_rule(lambda op, perm: {"axis": perm[op.attrs["axis"]]}),
    "RESHAPE": _reshape,
    "SLICE": _axis_rule(_rows("begin", "end")),
    "SOFTMAX": _last_axis,
    "STRIDED_SLICE": _axis_rule(_rows("begin", "end", "strides")),
    "TILE": _axis_rule(_rows("multiples")),
    "TRANSPOSE": _transpose,
}


def sink_transposes(graph: Graph) -> int:
    """Move every TRANSPOSE down as far as it goes; return the number of rewrites."""
    changes = _Sinker(graph).run()
    graph.remove_dead()
    graph.sort()
    return changes
