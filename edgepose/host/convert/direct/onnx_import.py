"""Turns ONNX nodes into the graph, one after another.

An ONNX tensor keeps its axis order here. Operators that TensorFlow Lite only has for NHWC stand between two
TRANSPOSE operators; the layout pass removes nearly all of them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Graph, Shape, UnsupportedByDirectRoute, Value
from edgepose.host.convert.direct.onnx_file import OnnxModel, OnnxNode

NHWC_FROM_NCHW = (0, 2, 3, 1)
NCHW_FROM_NHWC = (0, 3, 1, 2)
# Grey, RGB, RGBA.
_PICTURE_CHANNELS = frozenset((1, 3, 4))


@dataclass
class NodeImport:
    """One node while it is imported: its operands, and where its operators go.

    Attributes:
        graph: Receives the operators.
        node: The ONNX node.
        inputs: Its operands; None for an absent optional one.
        shapes: Static shapes of its outputs, as inferred; None where unknown.
    """

    graph: Graph
    node: OnnxNode
    inputs: list[Value | None]
    shapes: list[Shape | None] = field(default_factory=list)

    @property
    def x(self) -> Value:
        """The first operand."""
        return self.operand(0)

    def operand(self, position: int) -> Value:
        """Return a required operand."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            raise self.unsupported(f"operand {position} is missing")
        return value

    def optional(self, position: int) -> Value | None:
        """Return an operand, or None where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int) -> NDArray[Any]:
        """Return the elements of an operand that must be known."""
        value = self.operand(position)
        if value.data is None:
            raise self.unsupported(f"operand {position} ({value.name}) is not a constant")
        return value.data

    def optional_constant(self, position: int) -> NDArray[Any] | None:
        """Return the elements of an operand, or None where it is absent or empty."""
        value = self.optional(position)
        return (
            None
            if value is None or (value.data is not None and value.data.size == 0)
            else self.constant(position)
        )

    def attr(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        return self.node.attrs.get(name, default)

    def output_shape(self, position: int = 0) -> Shape:
        """Return the inferred shape of an output."""
        shape = self.shapes[position]
        if shape is None:
            raise self.unsupported("its output has no static shape")
        return shape

    def emit(
        self, kind: str, inputs: Sequence[Value], result: Sequence[int], dtype: Any = None, **attrs: Any
    ) -> Value:
        """Append an operator that comes from this node."""
        return self.graph.emit(
            kind,
            inputs,
            result,
            attrs,
            name=self.graph.fresh(self.node.outputs[0]),
            origin=self.node.name,
            dtype=dtype,
        )

    def const(self, data: Any) -> Value:
        """Return a new constant; Python numbers become float32."""
        array = np.asarray(data)
        return self.graph.constant(array.astype(np.float32) if array.dtype == np.float64 else array)

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        """Return ``value`` with its axes permuted; a constant is permuted now."""
        if value.data is not None:
            return self.graph.constant(np.ascontiguousarray(value.data.transpose(perm)), value.name + "_t")
        if tuple(perm) == tuple(range(len(perm))):
            return value
        shape = [value.shape[axis] for axis in perm]
        return self.emit("TRANSPOSE", [value], shape, perm=tuple(int(p) for p in perm))

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """Return ``value`` in another shape; a constant is reshaped now."""
        if tuple(shape) == value.shape:
            return value
        if value.data is not None:
            return self.graph.constant(value.data.reshape(shape), value.name + "_r")
        return self.emit("RESHAPE", [value], shape, shape=tuple(int(d) for d in shape))

    def unsupported(self, why: str) -> UnsupportedByDirectRoute:
        """Return the error that names this node."""
        return UnsupportedByDirectRoute(
            f"The direct route cannot convert ONNX {self.node.op_type} (node {self.node.name}): {why}."
        )


Handler = Callable[[NodeImport], "Value | list[Value]"]


def import_graph(model: OnnxModel, handlers: dict[str, Handler]) -> Graph:
    """Build the graph of ``model``.

    4-D inputs become NHWC, followed by a TRANSPOSE back to ONNX's order.

    Raises:
        UnsupportedByDirectRoute: If a node has no handler or its handler refuses it.
    """
    graph = Graph()
    values: dict[str, Value] = {name: graph.constant(array, name) for name, array in model.constants.items()}
    for name in model.inputs:
        values[name] = _input(graph, name, model)
    for node in model.nodes:
        handler = handlers.get(node.op_type)
        if handler is None:
            raise UnsupportedByDirectRoute(
                f"The direct route has no conversion for ONNX {node.op_type} (node {node.name})."
            )
        operands = [_operand(values, name, node) for name in node.inputs]
        shapes = [model.shapes.get(name) for name in node.outputs]
        results = handler(NodeImport(graph, node, operands, shapes))
        listed = results if isinstance(results, list) else [results]
        for name, shape, value in zip(node.outputs, shapes, listed, strict=False):
            if shape is not None and shape != value.shape:
                raise UnsupportedByDirectRoute(
                    f"ONNX {node.op_type} (node {node.name}) should give {name} the shape {list(shape)}; "
                    f"the direct route found {list(value.shape)}."
                )
            values[name] = value
    graph.outputs = [_output(graph, values[name]) for name in model.outputs]
    graph.output_names = list(model.outputs)
    return graph


def _operand(values: dict[str, Value], name: str, node: OnnxNode) -> Value | None:
    if not name:
        return None
    if name not in values:
        raise UnsupportedByDirectRoute(
            f"ONNX {node.op_type} (node {node.name}) reads {name}, which nothing wrote."
        )
    return values[name]


def _input(graph: Graph, name: str, model: OnnxModel) -> Value:
    shape = model.shapes.get(name)
    if shape is None:
        raise UnsupportedByDirectRoute(f"Input {name} has no static shape.")
    if len(shape) != 4 or _channels_last(shape):
        value = Value(name, shape, model.dtypes[name])
        graph.inputs.append(value)
        graph.inputs_as_in_onnx.add(name)
        return value
    value = Value(name, tuple(shape[axis] for axis in NHWC_FROM_NCHW), model.dtypes[name])
    graph.inputs.append(value)
    return graph.emit("TRANSPOSE", [value], shape, {"perm": NCHW_FROM_NHWC}, origin=name)


def _channels_last(shape: Shape) -> bool:
    """Whether a picture comes as NHWC already, as in ONNX files made from TensorFlow."""
    return shape[3] in _PICTURE_CHANNELS and shape[1] not in _PICTURE_CHANNELS


def _output(graph: Graph, value: Value) -> Value:
    """Give each output an operator of its own, so that it can be named, and is neither input nor constant."""
    return graph.emit("RESHAPE", [value], value.shape, {"shape": value.shape}, origin="output")
