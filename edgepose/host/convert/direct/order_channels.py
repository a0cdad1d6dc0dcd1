"""Rewrites the graph with chosen channel orders: no shuffle remains, most selections vanish into weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepose.host.convert.direct.channel_orders import (
    KIND,
    MAX_RUNS,
    ChannelOrders,
    is_carrier,
    is_channel_concat,
    is_dense,
    shuffle_groups,
)
from edgepose.host.convert.direct.graph_ir import Graph, Op, Value

Place = tuple[Value, int]
MAX_CONCAT_OPERANDS = 5  # more are not taken by XNNPACK's delegate
# Nanoseconds a pixel on one x86 core with AVX-512 (LiteRT 2.3): only their proportions matter.
_NS_RUN = 6.0
_NS_MULTIPLY_ADD = 0.022
_NS_SHUFFLED_CHANNEL = 0.6


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.new = Graph(graph.name)
        self.new._serial = graph._serial
        self.orders = ChannelOrders(graph)
        self.places: dict[int, list[Place]] = {}
        self.slices: dict[tuple[int, int, int], Value] = {}

    def run(self) -> Graph:
        for value in self.old.inputs:
            value.users = []
            self.new.inputs.append(value)
            self._store(value, value, range(_channels(value)))
        for op in self.old.ops:
            self._rewrite(op)
        for value in self.old.outputs:
            self.new.outputs.append(self._stored(value, range(_channels(value)), value.producer))
        self.new.output_names = self.old.output_names
        return self.new

    def _store(self, old: Value, new: Value, order: Sequence[int]) -> None:
        places: list[Place] = [(new, 0)] * len(order)
        for place, channel in enumerate(order):
            places[channel] = (new, place)
        self.places[id(old)] = places

    def _emit(
        self, op: Op, inputs: Sequence[Value], order: Sequence[int], attrs: dict[str, Any] | None = None
    ) -> None:
        out = op.output
        value = self.new.emit(
            op.kind, inputs, out.shape, op.attrs if attrs is None else attrs,
            name=out.name, origin=op.origin, dtype=out.dtype,
        )  # fmt: skip
        self._store(out, value, order)

    def _rewrite(self, op: Op) -> None:
        channels = _channels(op.output)
        if op.kind == KIND:
            self._select(op)
        elif is_channel_concat(op):
            order = self.orders.order_of(op.output)
            places = [place for value in op.inputs for place in self._all_places(value)]
            value = self._gathered([places[channel] for channel in order], op)
            self._store(op.output, value, order)
        elif is_dense(op):
            self._dense(op)
        elif is_carrier(op):
            order = self.orders.order_of(op.output)
            self._emit(op, [self._carried(value, order, channels, op) for value in op.inputs], order)
        else:
            inputs = [
                v if v.data is not None else self._stored(v, range(_channels(v)), op) for v in op.inputs
            ]
            self._emit(op, inputs, range(channels))

    def _select(self, op: Op) -> None:
        """Note where the channels stand; write them out only where they lie too scattered to be sliced."""
        source = self.places[id(op.inputs[0])]
        places = [source[index] for index in op.attrs["indices"]]
        order = self.orders.order_of(op.output)
        stored = [places[channel] for channel in order]
        self.places[id(op.output)] = places
        if not all(is_dense(user) for user in op.output.users) and len(_runs(stored)) > MAX_RUNS:
            self._store(op.output, self._gathered(stored, op), order)

    def _carried(self, value: Value, order: Sequence[int], channels: int, op: Op) -> Value:
        if value.data is None:
            wanted = order if _channels(value) == channels else range(_channels(value))
            return self._stored(value, wanted, op)
        if not value.shape or value.shape[-1] != channels or list(order) == list(range(channels)):
            return value
        return self.new.constant(np.ascontiguousarray(value.data[..., list(order)]), value.name)

    def _all_places(self, value: Value) -> list[Place]:
        if value.data is not None:
            return [(value, channel) for channel in range(_channels(value))]
        return self.places[id(value)]

    def _stored(self, value: Value, order: Sequence[int], op: Op | None) -> Value:
        """Return a value that stores the channels of ``value`` in this order."""
        places = self.places[id(value)]
        return self._gathered([places[channel] for channel in order], op)

    def _dense(self, op: Op) -> None:
        x = op.inputs[0]
        weights, bias = op.inputs[1].data, op.inputs[2].data
        assert weights is not None and bias is not None  # noqa: S101, PT018
        source, columns = self._dense_input(op, x)
        spread = np.zeros((*weights.shape[:-1], source.shape[-1]), weights.dtype)
        spread[..., columns] = weights
        order = list(self.orders.order_of(op.output))
        kernel = self.new.constant(np.ascontiguousarray(spread[order]), op.inputs[1].name)
        summand = self.new.constant(bias[order], op.inputs[2].name)
        self._emit(op, [source, kernel, summand], order)

    def _dense_input(self, op: Op, x: Value) -> tuple[Value, list[int]]:
        """Return what to multiply, and the column of each channel of ``x``: unwanted channels get zeros."""
        places = self.places[id(x)]
        sources = {id(value): value for value, _ in places}
        positions = [position for _, position in places]
        if len(sources) == 1:
            source = places[0][0]
            low, high = min(positions), max(positions) + 1
            extra = (
                (source.shape[-1] - len(positions)) * math.prod(op.inputs[1].shape[:-1]) * _NS_MULTIPLY_ADD
            )
            if high - low == len(positions) and (high - low) < source.shape[-1]:
                return self._slice(source, low, high, op), [position - low for position in positions]
            if extra <= len(_runs(sorted(places, key=lambda place: place[1]))) * 2 * _NS_RUN:
                return source, positions
        order = sorted(range(len(places)), key=lambda c: (str(places[c][0].name), places[c][1]))
        columns = [0] * len(places)
        for column, channel in enumerate(order):
            columns[channel] = column
        return self._gathered([places[channel] for channel in order], op), columns

    def _gathered(self, places: list[Place], op: Op | None) -> Value:
        """Return a value that stores exactly ``places``, by the cheapest means."""
        runs = _runs(places)
        if len(runs) == 1 and runs[0][2] - runs[0][1] == _channels(runs[0][0]):
            return runs[0][0]
        sources = list({id(value): value for value, _ in places}.values())
        if len(sources) == 1 and len(places) == _channels(sources[0]):
            order = [position for _, position in places]
            groups = shuffle_groups(order)
            if groups and len(places) * _NS_SHUFFLED_CHANNEL < len(runs) * 2 * _NS_RUN:
                return self._shuffled(sources[0], groups, op)
        inner = sum(_channels(value) for value in sources)
        multiply = inner * len(places) * _NS_MULTIPLY_ADD + (len(sources) > 1) * len(sources) * _NS_RUN
        slicing = sum(_NS_RUN * (1 + (stop - start < _channels(value))) for value, start, stop in runs)
        if multiply < slicing and len(places[0][0].shape) == 4:
            return self._multiplied(sources, places, op)
        return self._joined([self._slice(value, start, stop, op) for value, start, stop in runs], op)

    def _slice(self, value: Value, start: int, stop: int, op: Op | None) -> Value:
        if stop - start == _channels(value):
            return value
        key = (id(value), start, stop)
        if key not in self.slices:
            begin, end = [0] * len(value.shape), list(value.shape)
            begin[-1], end[-1] = start, stop
            attrs = {"begin": tuple(begin), "end": tuple(end)}
            shape = (*value.shape[:-1], stop - start)
            self.slices[key] = self.new.emit(
                "SLICE", [value], shape, attrs, origin=op.origin if op else "output"
            )
        return self.slices[key]

    def _joined(self, parts: list[Value], op: Op | None) -> Value:
        while len(parts) > 1:
            grouped = []
            for first in range(0, len(parts), MAX_CONCAT_OPERANDS):
                some = parts[first : first + MAX_CONCAT_OPERANDS]
                shape = (*some[0].shape[:-1], sum(_channels(value) for value in some))
                attrs = {"axis": len(shape) - 1}
                origin = op.origin if op else "output"
                grouped.append(
                    some[0]
                    if len(some) == 1
                    else self.new.emit("CONCATENATION", some, shape, attrs, origin=origin)
                )
            parts = grouped
        return parts[0]

    def _multiplied(self, sources: list[Value], places: list[Place], op: Op | None) -> Value:
        """Pick channels by a 1x1 convolution with zeros and ones."""
        whole = self._joined(sources, op)
        starts, start = {}, 0
        for value in sources:
            starts[id(value)] = start
            start += _channels(value)
        kernel = np.zeros((len(places), 1, 1, start), np.float32)
        for row, (value, position) in enumerate(places):
            kernel[row, 0, 0, starts[id(value)] + position] = 1.0
        steps = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
        attrs = {"padding": "VALID", "activation": "", **steps}
        inputs = [whole, self.new.constant(kernel), self.new.constant(np.zeros(len(places), np.float32))]
        shape = (*whole.shape[:-1], len(places))
        return self.new.emit("CONV_2D", inputs, shape, attrs, origin=op.origin if op else "output")

    def _shuffled(self, value: Value, groups: int, op: Op | None) -> Value:
        """Shuffle by RESHAPE, TRANSPOSE, RESHAPE."""
        origin = op.origin if op else "output"
        rows, channels = math.prod(value.shape[:-1]), _channels(value)
        parts, turned = (rows, groups, channels // groups), (rows, channels // groups, groups)
        split = self.new.emit("RESHAPE", [value], parts, {"shape": parts}, origin=origin)
        moved = self.new.emit("TRANSPOSE", [split], turned, {"perm": (0, 2, 1)}, origin=origin)
        return self.new.emit("RESHAPE", [moved], value.shape, {"shape": value.shape}, origin=origin)


def _channels(value: Value) -> int:
    return value.shape[-1] if value.shape else 1


def _runs(places: Sequence[Place]) -> list[tuple[Value, int, int]]:
    """Return (value, start, stop) of each stretch of neighbouring channels."""
    runs: list[tuple[Value, int, int]] = []
    for value, position in places:
        if runs and runs[-1][0] is value and runs[-1][2] == position:
            runs[-1] = (value, runs[-1][1], position + 1)
        else:
            runs.append((value, position, position + 1))
    return runs


def order_channels(graph: Graph) -> int:
    """Rewrite ``graph`` where it holds channel selections; return the number of selections."""
    count = sum(op.kind == KIND for op in graph.ops)
    if not count:
        return 0
    names = [value.name for value in graph.outputs]
    rewritten = _Rewriter(graph).run()
    graph.ops, graph.inputs, graph.outputs = rewritten.ops, rewritten.inputs, rewritten.outputs
    graph._serial = rewritten._serial
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = name
    return count
