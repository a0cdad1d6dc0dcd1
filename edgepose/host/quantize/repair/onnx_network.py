"""Reads a float ONNX model as a :class:`.network.Network`, and writes changed constants back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.onnx_view import OnnxGraph, attribute, captured
from edgepose.host.quantize.repair.network import (
    NO_CLIP,
    RELU,
    Array,
    Clip,
    Elementwise,
    Moved,
    Network,
    Opaque,
    Product,
    Step,
    Sum,
    Weighted,
    Window,
    grouped_reads,
    product_step,
)
from edgepose.host.quantize.repair.onnx_channel_flow import data_inputs, is_moving, moves_of

_CHANNEL_AXIS = 1
_ROWS_FIRST = (0, 1, 2, 3)
# Ops that read a tensor's sizes, not its values.
_VALUE_FREE = frozenset({"Shape", "Size", "ConstantOfShape"})


def read_network(model: Any) -> Network:
    """Translates the main graph of a prepared model (sizes inferred, batch normalization fused)."""
    graph = OnnxGraph(model)
    network = _Reader(graph).network
    _fuse_activations(network, graph)
    return network


def _fuse_activations(network: Network, graph: OnnxGraph) -> None:
    """Joins a step and the Relu or Clip that alone reads it: what lies between them is never rounded."""
    makers = {step.output: i for i, step in enumerate(network.steps) if not isinstance(step, Opaque)}
    fused: set[int] = set()
    for number, step in enumerate(network.steps):
        if not isinstance(step, Elementwise) or step.name not in {"Relu", "Clip"}:
            continue
        before = makers.get(step.source)
        alone = len(graph.readers[step.source]) == 1 and step.source not in network.outputs
        maker = network.steps[before] if before is not None and alone else None
        if before is None or not isinstance(maker, Weighted | Sum | Product):
            continue
        network.steps[before] = replace(maker, output=step.output, clip=step.clip)
        del network.shapes[step.source]
        fused.add(number)
    network.steps = [step for number, step in enumerate(network.steps) if number not in fused]


def write_constants(model: Any, constants: Mapping[str, NDArray[np.float32]]) -> None:
    """Puts changed values into a model; every op has operands of its own (``split_shared_constants``)."""
    from onnx import numpy_helper

    for entry in model.graph.initializer:
        values = constants.get(entry.name)
        if values is not None:
            entry.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), entry.name))


def split_shared_constants(model: Any) -> None:
    """Gives every op stored float operands of its own, so that each can be scaled for itself.

    Values of Constant nodes become initializers on the way.
    """
    from onnx import TensorProto

    graph = model.graph
    _constants_to_initializers(graph)
    stored = {e.name: e for e in graph.initializer if e.data_type == TensorProto.FLOAT}
    # What an output or a branch reads keeps its values.
    seen = {entry.name for entry in graph.output} | {n for node in graph.node for n in captured(node)}
    for number, node in enumerate(graph.node):
        for position, name in enumerate(node.input):
            if name not in stored:
                continue
            if name in seen:
                twin = graph.initializer.add()
                twin.CopyFrom(stored[name])
                twin.name = f"{name}/{number}_{position}"
                node.input[position] = twin.name
            seen.add(name)


def _constants_to_initializers(graph: Any) -> None:
    kept = []
    for node in graph.node:
        tensor = next((a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"), None)
        if tensor is None:
            kept.append(node)
            continue
        entry = graph.initializer.add()
        entry.CopyFrom(tensor)
        entry.name = node.output[0]
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


class _Reader:
    """One walk along the nodes."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        written = [name for node in graph.nodes for name in node.output if name and not graph.is_stored(name)]
        self.network = Network(
            inputs=graph.inputs,
            outputs=graph.outputs,
            # What has no fixed size is only ever read and written by opaque steps.
            shapes={name: graph.shape(name) or () for name in (*graph.inputs, *written)},
            channel_axis=_CHANNEL_AXIS,
        )
        for node in graph.nodes:
            if not all(graph.is_stored(name) for name in node.output if name):
                self.network.steps.extend(self._read(node) or [self._opaque(node)])

    def _read(self, node: Any) -> list[Step] | None:
        reader = _Reader.read_moved if is_moving(node.op_type) else _READERS.get(node.op_type)
        return reader(self, node) if reader is not None and self._is_static_float(node) else None

    def _is_static_float(self, node: Any) -> bool:
        """Whether the first computed input and all outputs are float32 of known size."""
        computed = self.graph.computed_inputs(node)
        looked_at = (*computed[:1], *(name for name in node.output if name))
        known = all(self.graph.is_float32(name) and self.graph.shape(name) for name in looked_at)
        return bool(computed) and known and node.domain in {"", "ai.onnx"}

    def _opaque(self, node: Any) -> Opaque:
        computed = () if node.op_type in _VALUE_FREE else self.graph.computed_inputs(node)
        known = self.network.shapes
        sources = tuple(dict.fromkeys(name for name in computed if name in known))
        return Opaque(sources, tuple(name for name in node.output if name), node.op_type)

    def shape(self, name: str) -> tuple[int, ...]:
        """Static size of a computed tensor."""
        return self.network.shapes[name]

    def optional(self, node: Any, position: int) -> str | None:
        """Name of an input that may be left out."""
        return (node.input[position] or None) if len(node.input) > position else None

    def weights(self, name: str, shape: tuple[int, ...] | None = None) -> str | None:
        """Takes a stored float tensor into the network; None where it is no such thing."""
        if not self.graph.is_stored(name) or not self.graph.is_float32(name):
            return None
        values = self.graph.stored(name).astype(np.float32)
        self.network.constants[name] = values if shape is None else values.reshape(shape)
        return name

    def bias(self, node: Any, position: int) -> tuple[bool, str | None]:
        """Whether a bias is stored or left out, and its name."""
        name = self.optional(node, position)
        taken = None if name is None else self.weights(name)
        return (name is None) == (taken is None), taken

    def virtual(self, name: str, shape: tuple[int, ...]) -> str:
        """A tensor that stands between two steps of one node."""
        self.network.shapes[name] = shape
        return name

    # --- one reader per kind of op -----------------------------------------------------------------

    def read_convolution(self, node: Any) -> list[Step] | None:
        source, output = node.input[0], node.output[0]
        weights = self.weights(node.input[1])
        has_plain_bias, bias = self.bias(node, 2)
        if weights is None or not has_plain_bias or len(self.shape(source)) != 4:
            return None
        groups, transposed = int(attribute(node, "group", 1)), node.op_type == "ConvTranspose"
        stored, channels = self.network.constants[weights].shape, self.shape(source)[_CHANNEL_AXIS]
        to_matrix = (1, 0, 2, 3) if transposed and groups == 1 else _ROWS_FIRST
        if transposed and groups > 1 and (groups != channels or stored[1] != 1):
            return None
        rows, per_output = stored[to_matrix[0]], stored[to_matrix[1]]
        reads, axes = grouped_reads(rows, per_output, groups), (_CHANNEL_AXIS, _CHANNEL_AXIS)
        return [
            Weighted(source, output, weights, bias, to_matrix, reads, axes, transposed, name=node.op_type)
        ]

    def read_gemm(self, node: Any) -> list[Step] | None:
        weights = self.weights(node.input[1])
        has_plain_bias, bias = self.bias(node, 2)
        if weights is None or not has_plain_bias or attribute(node, "transA", 0):
            return None
        to_matrix = (0, 1) if attribute(node, "transB", 0) else (1, 0)
        return [self._dense(node, (node.input[0], node.output[0]), weights, to_matrix, bias)]

    def read_matmul(self, node: Any) -> list[Step] | None:
        """The stored factor is W in X W or in W X; the latter is the former for X transposed."""
        left = self.graph.is_stored(node.input[0])
        source, stored = node.input[int(left)], node.input[int(not left)]
        if self.graph.is_stored(source):
            return None
        weights = self.weights(stored)
        rank = len(self.network.constants[stored].shape) if weights else 0
        if weights is None or rank < 2 or any(n != 1 for n in self.network.constants[stored].shape[:-2]):
            return None
        outer = tuple(range(rank - 2))
        to_matrix = (rank - 2, rank - 1, *outer) if left else (rank - 1, rank - 2, *outer)
        ends = (source, node.output[0])
        if not left and all(len(self.shape(name)) in {2, 3} for name in ends):
            return [self._dense(node, ends, weights, to_matrix, None)]
        return self._product_of_rows(node, ends, weights, to_matrix, turned=left)

    def _product_of_rows(
        self, node: Any, ends: tuple[str, str], weights: str, to_matrix: tuple[int, ...], *, turned: bool
    ) -> list[Step] | None:
        """Brings the multiplied axis to the end of a matrix, and the result back."""
        before, after = (self.shape(name) for name in ends)
        if min(len(before), len(after)) < 2:
            return None
        columns = before[-2 if turned else -1]
        turned_after = (*after[:-2], after[-1], after[-2]) if turned else after
        rows = self.virtual(f"{ends[1]}/rows", (int(np.prod(before)) // columns, columns))
        made = self.virtual(f"{ends[1]}/made", (int(np.prod(after)) // turned_after[-1], turned_after[-1]))

        def to_rows(values: Array) -> Array:
            return (np.swapaxes(values, -1, -2) if turned else values).reshape(-1, columns)

        def from_rows(values: Array) -> Array:
            shaped = values.reshape(turned_after)
            return np.swapaxes(shaped, -1, -2) if turned else shaped

        return [
            Moved((ends[0],), rows, to_rows, name="Reshape"),
            self._dense(node, (rows, made), weights, to_matrix, None),
            Moved((made,), ends[1], from_rows, name="Reshape"),
        ]

    def _dense(
        self, node: Any, ends: tuple[str, str], weights: str, to_matrix: tuple[int, ...], bias: str | None
    ) -> Weighted:
        stored = self.network.constants[weights].shape
        rows, columns = stored[to_matrix[0]], stored[to_matrix[1]]
        every = np.broadcast_to(np.arange(columns), (rows, columns))
        return Weighted(*ends, weights, bias, to_matrix, every, (-1, -1), name=node.op_type)

    def read_moved(self, node: Any) -> list[Step] | None:
        sources = data_inputs(node)
        usable = all(
            name in self.network.shapes and self.graph.is_float32(name) and self.graph.shape(name)
            for name in sources
        )
        made = moves_of(self.graph, node) if usable else None
        if made is None:
            return None
        return [
            Moved(sources, output, move, name=node.op_type)
            for output, move in zip(node.output, made, strict=False)
        ]

    def read_activation(self, node: Any) -> list[Step] | None:
        clip = RELU if node.op_type == "Relu" else NO_CLIP
        ones = np.ones(1, np.float32)
        return [Elementwise(node.input[0], node.output[0], ones, clip, node.op_type)]

    def read_prelu(self, node: Any) -> list[Step] | None:
        if not self.graph.is_stored(node.input[1]) or not self.network.keeps_size(
            node.input[0], node.output[0]
        ):
            return None
        return self.read_activation(node)

    def read_clip(self, node: Any) -> list[Step] | None:
        bounds: list[float | None] = []
        for position, name in ((1, "min"), (2, "max")):
            given = self.optional(node, position)
            if given is not None and not self.graph.is_stored(given):
                return None
            value = attribute(node, name) if given is None else self.graph.stored(given).reshape(-1)[0]
            finite = value is not None and abs(float(value)) < float(np.finfo(np.float32).max)
            bounds.append(float(value) if finite else None)
        ones = np.ones(1, np.float32)
        return [Elementwise(node.input[0], node.output[0], ones, Clip(*bounds), node.op_type)]

    def read_product(self, node: Any) -> list[Step] | None:
        graph = self.graph
        factors = [(name, graph.stored(name) if graph.is_stored(name) else None) for name in node.input]
        return product_step(self.network, factors, node.output[0], NO_CLIP, node.op_type)

    def read_sum(self, node: Any) -> list[Step] | None:
        computed = tuple(name for name in node.input if not self.graph.is_stored(name))
        stored = [name for name in node.input if self.graph.is_stored(name)]
        output = node.output[0]
        if not stored:
            return [Sum(computed, output, name=node.op_type)]
        if len(computed) != 1 or len(stored) != 1 or not self.network.keeps_size(computed[0], output):
            return None
        values = self.graph.stored(stored[0])
        if not values.any() and (node.op_type == "Add" or node.input[0] == computed[0]):
            return [Elementwise(computed[0], output, np.ones(1, np.float32), name=node.op_type)]
        # With all axes written out the constant can follow the scales of the channels, even a lone number.
        missing = len(self.shape(output)) - values.ndim
        constant = self.weights(stored[0], (1,) * missing + values.shape)
        return [Sum(computed, output, constant, name=node.op_type)]

    def read_window(self, node: Any) -> list[Step] | None:
        source, output = node.input[0], node.output[0]
        before, after = self.shape(source), self.shape(output)
        if len(before) != 4 or len(after) != 4 or before[:2] != after[:2]:
            return None
        if any(name and self.graph.readers[name] for name in node.output[1:]):
            return None
        averaged = 1
        if node.op_type == "GlobalAveragePool":
            averaged = before[2] * before[3]
        elif node.op_type == "AveragePool":
            averaged = int(np.prod(attribute(node, "kernel_shape")))
        elif attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
            return None
        channels = (_CHANNEL_AXIS, _CHANNEL_AXIS)
        return [Window(source, output, channels, averaged, name=node.op_type)]

    def read_reduction(self, node: Any) -> list[Step] | None:
        source, output = node.input[0], node.output[0]
        shape, given = self.shape(source), self.optional(node, 1)
        if given is not None and not self.graph.is_stored(given):
            return None
        axes = attribute(node, "axes") if given is None else self.graph.stored(given).reshape(-1)
        if axes is None or len(shape) != 4 or {int(axis) % 4 for axis in axes} != {2, 3}:
            return None
        averaged = shape[2] * shape[3] if node.op_type == "ReduceMean" else 1
        return [Window(source, output, (_CHANNEL_AXIS, _CHANNEL_AXIS), averaged, name=node.op_type)]


_READERS: dict[str, Callable[[_Reader, Any], list[Step] | None]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _Reader.read_convolution),
    "Gemm": _Reader.read_gemm,
    "MatMul": _Reader.read_matmul,
    **dict.fromkeys(("Relu", "LeakyRelu"), _Reader.read_activation),
    "PRelu": _Reader.read_prelu,
    "Clip": _Reader.read_clip,
    **dict.fromkeys(("Mul", "Div"), _Reader.read_product),
    **dict.fromkeys(("Add", "Sub", "Sum"), _Reader.read_sum),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"),
        _Reader.read_window,
    ),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), _Reader.read_reduction),
}
