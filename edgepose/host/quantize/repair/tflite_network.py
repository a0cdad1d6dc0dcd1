"""Reads a float TFLite file as a :class:`.network.Network`, and writes changed constants back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.tflite_view import op_name, tensor_name
from edgepose.host.quantize.repair.network import (
    NO_CLIP,
    RELU,
    Clip,
    Elementwise,
    Moved,
    Network,
    Opaque,
    Step,
    Sum,
    Weighted,
    Window,
    grouped_reads,
    product_step,
)
from edgepose.host.quantize.repair.tflite_channel_flow import MOVES

_ROWS_FIRST = (0, 3, 1, 2)
_DEPTHWISE = (3, 0, 1, 2)
# ActivationFunctionType of the schema: 0 none, 1 RELU, 2 RELU_N1_TO_1, 3 RELU6; any other one is opaque.
_FUSED = {0: NO_CLIP, 1: RELU, 2: Clip(-1.0, 1.0), 3: Clip(0.0, 6.0)}
_LONE = {
    "RELU": RELU,
    "RELU6": Clip(0.0, 6.0),
    "RELU_N1_TO_1": Clip(-1.0, 1.0),
    "RELU_0_TO_1": Clip(0.0, 1.0),
    "LEAKY_RELU": NO_CLIP,
    "PRELU": NO_CLIP,
}
_FLOAT32 = 0


def read_network(graph: Any) -> Network:
    """Translates the first subgraph of an unpacked file (``read_tflite``)."""
    return _Reader(graph).network


def write_constants(graph: Any, constants: dict[str, NDArray[np.float32]]) -> None:
    """Puts changed values into an unpacked file; a buffer that several tensors share is split first."""
    subgraph = graph.subgraphs[0]
    users: dict[int, int] = {}
    for tensor in subgraph.tensors:
        users[tensor.buffer] = users.get(tensor.buffer, 0) + 1
    for tensor in subgraph.tensors:
        values = constants.get(tensor_name(tensor))
        if values is None:
            continue
        if users[tensor.buffer] > 1:
            users[tensor.buffer] -= 1
            buffer = type(graph.buffers[tensor.buffer])()
            graph.buffers.append(buffer)
            tensor.buffer = len(graph.buffers) - 1
        data = np.ascontiguousarray(values, np.float32)
        graph.buffers[tensor.buffer].data = np.frombuffer(data.tobytes(), np.uint8)


def split_shared_constants(graph: Any) -> None:
    """Gives every op stored operands of its own, so that each can be scaled for itself."""
    subgraph = graph.subgraphs[0]
    seen: set[int] = set()
    for op in subgraph.operators:
        for position, index in enumerate(op.inputs):
            if index < 0 or not _holds_floats(graph, subgraph.tensors[index]):
                continue
            if index in seen:
                twin = copy.copy(subgraph.tensors[index])
                twin.name = f"{tensor_name(twin)}/{len(subgraph.tensors)}".encode()
                subgraph.tensors.append(twin)
                op.inputs[position] = len(subgraph.tensors) - 1
            seen.add(int(op.inputs[position]))


def _holds_floats(graph: Any, tensor: Any) -> bool:
    data = graph.buffers[tensor.buffer].data
    return data is not None and len(data) > 0 and tensor.type == _FLOAT32


class _Reader:
    """One walk along the ops of the first subgraph."""

    def __init__(self, graph: Any) -> None:
        subgraph = graph.subgraphs[0]
        self._graph, self._tensors = graph, subgraph.tensors
        self._names = names = [tensor_name(tensor) for tensor in self._tensors]
        self.network = Network(
            inputs=tuple(names[i] for i in subgraph.inputs),
            outputs=tuple(names[i] for i in subgraph.outputs),
            shapes={name: self.shape(i) for i, name in enumerate(names) if not self._is_stored(i)},
        )
        for op in subgraph.operators:
            self._read(op)

    def _read(self, op: Any) -> None:
        name = op_name(self._graph, op)
        reader = _READERS.get(name)
        options = op.builtinOptions
        clip = _FUSED.get(int(getattr(options, "fusedActivationFunction", 0) or 0))
        steps: list[Step] | None = None
        if reader is not None and clip is not None and self._is_float(op):
            steps = reader(self, op, name, clip)
        self.network.steps.extend(steps or [self._opaque(op, name)])

    def _opaque(self, op: Any, name: str) -> Opaque:
        computed = tuple(self._names[i] for i in op.inputs if i >= 0 and not self._is_stored(i))
        return Opaque(computed, tuple(self._names[i] for i in op.outputs), name)

    def _is_stored(self, index: int) -> bool:
        data = self._graph.buffers[self._tensors[index].buffer].data
        return data is not None and len(data) > 0

    def _is_float(self, op: Any) -> bool:
        """Whether the op's results, and its first input, are float32."""
        return all(self._tensors[i].type == _FLOAT32 for i in (*op.outputs, self._first(op)))

    def _first(self, op: Any) -> int:
        return next(int(i) for i in op.inputs if i >= 0 and not self._is_stored(int(i)))

    def stored(self, index: int) -> NDArray[Any]:
        """A stored tensor's values."""
        tensor = self._tensors[index]
        kind = {0: np.float32, 2: np.int32, 4: np.int64}.get(tensor.type)
        if kind is None:
            return np.zeros(0)
        values = np.frombuffer(self._graph.buffers[tensor.buffer].data.tobytes(), kind)
        return values.reshape(tuple(_sequence(tensor.shape)))

    def shape(self, index: int) -> tuple[int, ...]:
        """A tensor's static shape."""
        return tuple(_sequence(self._tensors[index].shape))

    def weights(self, index: int) -> str | None:
        """Takes a stored float tensor into the network; None where it is no such thing."""
        if index < 0 or not self._is_stored(index) or self._tensors[index].type != _FLOAT32:
            return None
        name = self._names[index]
        self.network.constants[name] = self.stored(index).astype(np.float32)
        return name

    # --- one reader per kind of op -----------------------------------------------------------------

    def read_convolution(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        transposed = name == "TRANSPOSE_CONV"
        source = int(op.inputs[2 if transposed else 0])
        position = 3 if transposed else 2
        bias_index = int(op.inputs[position]) if len(op.inputs) > position else -1
        weights = self.weights(int(op.inputs[1]))
        bias = self.weights(bias_index)
        if weights is None or (bias_index >= 0 and bias is None) or self._is_stored(source):
            return None
        to_matrix = _DEPTHWISE if name == "DEPTHWISE_CONV_2D" else _ROWS_FIRST
        rows, per_output = (self.network.constants[weights].shape[axis] for axis in to_matrix[:2])
        channels = self.network.shapes[self._names[source]][-1]
        step = Weighted(
            self._names[source],
            self._names[op.outputs[0]],
            weights,
            bias,
            to_matrix,
            reads=grouped_reads(rows, per_output, channels // per_output),
            channel_axes=(-1, -1),
            spreads=transposed,
            dilation=_dilation(op.builtinOptions),
            clip=clip,
            name=name,
        )
        return [step]

    def read_fully_connected(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        source = self._names[op.inputs[0]]
        bias_index = int(op.inputs[2]) if len(op.inputs) > 2 else -1
        weights, bias = self.weights(int(op.inputs[1])), self.weights(bias_index)
        if weights is None or (bias_index >= 0 and bias is None) or self._is_stored(int(op.inputs[0])):
            return None
        rows, columns = self.network.constants[weights].shape
        steps: list[Step] = []
        if self.network.shapes[source][-1] != columns:
            flat = f"{self._names[op.outputs[0]]}/rows"
            shape = (int(np.prod(self.network.shapes[source])) // columns, columns)
            self.network.shapes[flat] = shape
            steps.append(Moved((source,), flat, lambda values: values.reshape(shape), name="RESHAPE"))
            source = flat
        every = np.broadcast_to(np.arange(columns), (rows, columns))
        output = self._names[op.outputs[0]]
        steps.append(Weighted(source, output, weights, bias, (0, 1), every, (-1, -1), clip=clip, name=name))
        return steps

    def read_moved(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        data = _DATA_INPUTS.get(name, slice(None))
        stored = [i >= 0 and self._is_stored(int(i)) for i in op.inputs]
        moves = [int(i) for i in op.inputs[data]]
        # Where the values go must be known, so all but the data must be stored; and the data must not be.
        if any(stored[data]) or sum(stored) + len(moves) != len(op.inputs):
            return None
        made = MOVES[name](self, op)
        sources = tuple(self._names[i] for i in moves)
        if made is None:
            return None
        return [
            Moved(sources, self._names[o], move, clip, name) for o, move in zip(op.outputs, made, strict=True)
        ]

    def read_activation(self, op: Any, name: str, _clip: Clip) -> list[Step] | None:
        if self._is_stored(int(op.inputs[0])):
            return None
        source, output = self._names[op.inputs[0]], self._names[op.outputs[0]]
        return [Elementwise(source, output, np.ones(1, np.float32), _LONE[name], name)]

    def read_product(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        factors = [(self._names[i], self.stored(i) if self._is_stored(i) else None) for i in op.inputs]
        return product_step(self.network, factors, self._names[op.outputs[0]], clip, name)

    def read_sum(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        computed = tuple(self._names[i] for i in op.inputs if not self._is_stored(int(i)))
        stored = [int(i) for i in op.inputs if self._is_stored(int(i))]
        output = self._names[op.outputs[0]]
        if not stored:
            return [Sum(computed, output, clip=clip, name=name)]
        values = self.stored(stored[0])
        if len(computed) != 1 or not self.network.keeps_size(computed[0], output):
            return None
        # A summand that is the same for all channels cannot follow their scales.
        if not values.any():
            return [Elementwise(computed[0], output, np.ones(1, np.float32), clip, name)]
        if values.ndim == 0 or values.shape[-1] != self.network.shapes[output][-1]:
            return None
        return [Sum(computed, output, self.weights(stored[0]), clip, name)]

    def read_window(self, op: Any, name: str, clip: Clip) -> list[Step] | None:
        source, output = self._names[op.inputs[0]], self._names[op.outputs[0]]
        shape = self.network.shapes[source]
        if len(shape) != 4 or self._is_stored(int(op.inputs[0])):
            return None
        averaged = 1
        if name in {"MEAN", "SUM"}:
            if not self._is_stored(int(op.inputs[1])):
                return None
            axes = {int(axis) % 4 for axis in self.stored(int(op.inputs[1])).reshape(-1)}
            if axes != {1, 2}:
                return None
            averaged = shape[1] * shape[2] if name == "MEAN" else 1
        elif name == "AVERAGE_POOL_2D":
            averaged = op.builtinOptions.filterHeight * op.builtinOptions.filterWidth
        return [Window(source, output, (-1, -1), averaged, clip, name)]


_Read = Callable[[_Reader, Any, str, Clip], list[Step] | None]
_READERS: dict[str, _Read] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), _Reader.read_convolution),
    "FULLY_CONNECTED": _Reader.read_fully_connected,
    **dict.fromkeys(MOVES, _Reader.read_moved),
    **dict.fromkeys(_LONE, _Reader.read_activation),
    **dict.fromkeys(("MUL", "DIV"), _Reader.read_product),
    **dict.fromkeys(("ADD", "SUB"), _Reader.read_sum),
    **dict.fromkeys(
        ("MEAN", "SUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        _Reader.read_window,
    ),
}


def _dilation(options: Any) -> tuple[int, int]:
    """A transposed convolution's options have none."""
    return int(getattr(options, "dilationHFactor", 1)), int(getattr(options, "dilationWFactor", 1))


# Which of an op's inputs move data; all of them for a concatenation.
_DATA_INPUTS = {name: slice(1) for name in MOVES if name != "CONCATENATION"} | {"SPLIT": slice(1, 2)}


def _sequence(values: Any) -> list[int]:
    return [] if values is None else [int(v) for v in values]
