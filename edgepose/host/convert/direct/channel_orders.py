"""Chooses in which order each value stores its channels, so that selections become slices or vanish.

Values that elementwise operators, depthwise convolutions and resizes tie together share one order. The
choice is only a matter of speed: the rewrite behind it gives the right numbers for any choice.
``CHANNEL_SELECT`` picks or reorders channels and exists between two passes only: output channel i is input
channel ``indices[i]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from edgepose.host.convert.direct.graph_ir import Graph, Op, Value
from edgepose.host.convert.direct.layout import BINARY, REDUCE, UNARY, reshape_groups
from edgepose.runtime.wire_formats import names_in

KIND = "CHANNEL_SELECT"


def find_channel_selects(graph: Graph) -> int:
    """Replace channel shuffles, gathers and slices; return how many operators reorder channels.

    A graph without a real reordering is left alone: plain slices are best as they are.
    """
    found = [(op, indices) for op in graph.ops if (indices := _shuffle(op) or _gather(op))]
    if not found:
        return 0
    slices = [(op, indices) for op in graph.ops if (indices := _slice(op))]
    for op, indices in found + slices:
        source = op.inputs[0]
        if op.kind == "RESHAPE":
            transpose = op.inputs[0].producer
            assert transpose is not None and transpose.inputs[0].producer is not None  # noqa: S101, PT018
            source = transpose.inputs[0].producer.inputs[0]
        graph.set_inputs(op, [source])
        op.kind, op.attrs = KIND, {"indices": indices}
    return len(found)


def _shuffle(op: Op) -> tuple[int, ...] | None:
    """RESHAPE, TRANSPOSE, RESHAPE that splits the last axis, reorders the parts and joins them again."""
    transpose = op.inputs[0].producer if op.kind == "RESHAPE" else None
    if transpose is None or transpose.kind != "TRANSPOSE":
        return None
    split = transpose.inputs[0].producer
    if split is None or split.kind != "RESHAPE" or split.inputs[0].shape != op.output.shape:
        return None
    shape, parts, perm = op.output.shape, split.output.shape, transpose.attrs["perm"]
    groups = reshape_groups(shape, parts)
    if not groups or groups[-1][0] != (len(shape) - 1,):
        return None
    tail = groups[-1][1]
    first = tail[0]
    if tuple(perm[:first]) != tuple(range(first)) or tail != tuple(range(first, len(parts))):
        return None
    order = [axis - first for axis in perm[first:]]
    indices = np.arange(shape[-1]).reshape(parts[first:]).transpose(order).reshape(-1)
    return tuple(int(i) for i in indices)


def _gather(op: Op) -> tuple[int, ...] | None:
    if op.kind != "GATHER" or op.attrs["axis"] != len(op.output.shape) - 1:
        return None
    indices: tuple[int, ...] = op.attrs["indices"]
    return indices if len(set(indices)) == len(indices) else None


def _slice(op: Op) -> tuple[int, ...] | None:
    if op.kind != "SLICE" or op.output.shape[:-1] != op.inputs[0].shape[:-1]:
        return None
    return tuple(range(op.attrs["begin"][-1], op.attrs["end"][-1]))


def shuffle_groups(order: list[int]) -> int:
    """Return g where ``order`` is (g, n) channels read column by column, else 0."""
    channels = len(order)
    groups = channels // order[1] if channels > 1 and order[1] > 1 and channels % order[1] == 0 else 0
    if groups > 1 and order == np.arange(channels).reshape(groups, -1).T.reshape(-1).tolist():
        return groups
    return 0


Order = list[int]
# A selection of more stretches than this is stored anew, in an order that serves what comes behind it.
# Measured on TinyPose-256 (float / int8 ms): 1: 11.9 / 7.1, 2: 11.6 / 7.0, 3: 11.4 / 7.2, 4: 11.7 / 7.4.
MAX_RUNS = 2
_POOL_LIKE = names_in(
    "MAX_POOL_2D AVERAGE_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR PAD SLICE STRIDED_SLICE TILE RESHAPE"
)


def is_dense(op: Op) -> bool:
    """Whether every output channel is a weighted sum of all input channels, with known weights."""
    if op.kind not in {"CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}:
        return False
    channels = op.inputs[0].shape[-1]
    return all(v.data is not None for v in op.inputs[1:]) and op.inputs[1].shape[-1] == channels


def is_carrier(op: Op) -> bool:
    """Whether output channel i comes from input channel i alone, for every activation with those channels."""
    rule = _CARRIES.get(op.kind)
    if rule is None or not op.output.shape or op.output.dtype != np.float32:
        return False
    channels = op.output.shape[-1]
    widths = {v.shape[-1] if v.shape else 0 for v in op.inputs if v.data is None}
    return widths <= ({1, channels} if op.kind in BINARY else {channels}) and rule(op)


def _spares_channels(*keys: str) -> Callable[[Op], bool]:
    """Return whether none of these axis attributes names the last axis."""
    return lambda op: all(len(op.output.shape) - 1 not in np.atleast_1d(op.attrs[key]) for key in keys)


_CARRIES: dict[str, Callable[[Op], bool]] = {
    **dict.fromkeys((*UNARY, *BINARY, *_POOL_LIKE), lambda _op: True),
    **dict.fromkeys(REDUCE, _spares_channels("axes")),
    "CONCATENATION": _spares_channels("axis"),
    "DEPTHWISE_CONV_2D": lambda op: (
        op.attrs["multiplier"] == 1 and all(v.data is not None for v in op.inputs[1:])
    ),
    "PAD": lambda op: tuple(op.attrs["pads"][-1]) == (0, 0),
}


def is_channel_concat(op: Op) -> bool:
    """Whether ``op`` joins values along their channels."""
    return op.kind == "CONCATENATION" and op.attrs["axis"] == len(op.output.shape) - 1


def _tied(op: Op) -> list[Value]:
    channels = op.output.shape[-1]
    return [v for v in op.inputs if v.data is None and v.shape[-1] == channels]


def _is_reordering(op: Op) -> bool:
    return op.kind == KIND and len(op.attrs["indices"]) == op.inputs[0].shape[-1]


class ChannelOrders:
    """The order of every value: ``order_of(v)[p]`` is the channel that stands at place p."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent: dict[int, int] = {}
        self._channel_in_parent: dict[int, Order] = {}
        self._members: dict[int, list[Value]] = {}
        self._chosen: dict[int, Order | None] = {}
        self._lives: dict[int, list[int]] = {}
        self._values = [*graph.inputs, *(out for op in graph.ops for out in op.outputs)]
        self._tie()
        self._measure_lives()

    def order_of(self, value: Value) -> Order:
        """Return the channels of ``value`` in the order in which they are stored."""
        root, atoms = self._find(value)
        order = self._group_order(root) or list(range(value.shape[-1]))
        place = {atom: channel for channel, atom in enumerate(atoms)}
        return [place[atom] for atom in order]

    def _find(self, value: Value) -> tuple[int, Order]:
        """Return the group and, per channel of ``value``, the group's channel."""
        key, atoms = id(value), list(range(value.shape[-1] if value.shape else 1))
        while self._parent.get(key, key) != key:
            step = self._channel_in_parent[key]
            atoms = [step[a] for a in atoms]
            key = self._parent[key]
        return key, atoms

    def _union(self, a: Value, b: Value, b_from_a: Iterable[int]) -> None:
        """State that channel i of ``b`` is channel ``b_from_a[i]`` of ``a``."""
        root_a, atoms_a = self._find(a)
        root_b, atoms_b = self._find(b)
        if root_a == root_b:
            return
        step = [0] * len(atoms_b)
        for channel, source in enumerate(b_from_a):
            step[atoms_b[channel]] = atoms_a[source]
        self._parent[root_b], self._channel_in_parent[root_b] = root_a, step

    def _tie(self) -> None:
        for op in self._graph.ops:
            if is_carrier(op):
                for value in _tied(op):
                    self._union(value, op.output, range(op.output.shape[-1]))
            elif _is_reordering(op):
                self._union(op.inputs[0], op.output, op.attrs["indices"])
        for value in self._values:
            self._members.setdefault(self._find(value)[0], []).append(value)

    def _measure_lives(self) -> None:
        """Count, per channel, how many later selections keep it: those kept longest should stand together."""
        for value in self._values:
            self._lives[id(value)] = [0] * (value.shape[-1] if value.shape else 1)
        for op in reversed(self._graph.ops):
            after = self._lives[id(op.output)]
            if op.kind == KIND:
                kept = 0 if all(is_dense(user) for user in op.output.users) else not _is_reordering(op)
                pairs = [
                    (op.inputs[0], source, kept + after[i]) for i, source in enumerate(op.attrs["indices"])
                ]
            elif is_channel_concat(op):
                places = [(value, c) for value in op.inputs for c in range(value.shape[-1])]
                pairs = [(value, c, life) for (value, c), life in zip(places, after, strict=True)]
            elif is_carrier(op):
                pairs = [(value, c, life) for value in _tied(op) for c, life in enumerate(after)]
            else:
                continue
            for value, channel, life in pairs:
                if value.data is None:
                    lives = self._lives[id(value)]
                    lives[channel] = max(lives[channel], life)

    def _group_order(self, root: int) -> Order | None:
        """Return the group's channels in order; None while it is being chosen (a cycle)."""
        if root not in self._chosen:
            self._chosen[root] = None
            self._chosen[root] = self._choose(root)
        return self._chosen[root]

    def _choose(self, root: int) -> Order:
        members = self._members[root]
        for value in members:
            if self._is_fixed(value):
                return self._find(value)[1]
        for rule in (self._after_concat, self._after_select):
            for value in members:
                order = rule(value)
                if order is not None:
                    atoms = self._find(value)[1]
                    return [atoms[channel] for channel in order]
        return self._by_life(members)

    def _is_fixed(self, value: Value) -> bool:
        op = value.producer
        free = op is not None and (is_carrier(op) or is_dense(op) or is_channel_concat(op) or op.kind == KIND)
        opaque_reader = any(
            not (is_carrier(user) or is_dense(user) or is_channel_concat(user) or user.kind == KIND)
            for user in value.users
        )
        return not free or opaque_reader or self._graph.is_output(value)

    def _after_concat(self, value: Value) -> Order | None:
        op = value.producer
        if op is None or not is_channel_concat(op):
            return None
        order: Order = []
        for operand in op.inputs:
            own = self.order_of(operand) if operand.data is None else range(operand.shape[-1])
            start = len(order)
            order.extend([start + channel for channel in own])
        return order

    def _after_select(self, value: Value) -> Order | None:
        op = value.producer
        if op is None or op.kind != KIND or _is_reordering(op):
            return None
        place = {channel: p for p, channel in enumerate(self.order_of(op.inputs[0]))}
        order = sorted(range(value.shape[-1]), key=lambda c: place[op.attrs["indices"][c]])
        places = [place[op.attrs["indices"][c]] for c in order]
        runs = 1 + sum(b != a + 1 for a, b in itertools.pairwise(places))
        return order if runs <= MAX_RUNS else None

    def _by_life(self, members: list[Value]) -> Order:
        lives: dict[int, int] = {}
        for value in members:
            atoms = self._find(value)[1]
            for channel, life in enumerate(self._lives[id(value)]):
                lives[atoms[channel]] = max(lives.get(atoms[channel], 0), life)
        # Behind its neighbour in a concatenation the channels that live on stand first, else last: then
        # the surviving parts of two neighbours touch, and one slice takes both.
        behind = any(
            is_channel_concat(user) and user.inputs[0] is not value
            for value in members
            for user in value.users
        )
        sign = -1 if behind else 1
        return sorted(lives, key=lambda atom: (sign * lives[atom], atom))
