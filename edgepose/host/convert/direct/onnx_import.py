"""Turns ONNX nodes into the graph, one after another.

An ONNX tensor keeps its axis order here. Operators that TensorFlow Lite only has for NHWC stand between two
TRANSPOSE operators; the layout pass removes nearly all of them afterwards.

Reads an ONNX file into plain nodes: constants folded, every shape static, the batch fixed at 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from edgepose.errors import ModelError
from edgepose.host.convert.direct.graph_ir import Graph, Shape, UnsupportedByDirectRoute, Value
from edgepose.host.convert.routes import fold_locked


@dataclass(frozen=True)
class OnnxNode:
    """One ONNX operator.

    Attributes:
        op_type: Operator name.
        name: The node's name, or its first output's where it has none.
        inputs: Names of its inputs, "" for an absent optional one.
        outputs: Names of its outputs, "" for an absent optional one.
        attrs: Attributes as Python values and numpy arrays.
        opset: Version of the operator set.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Any]
    opset: int


@dataclass(frozen=True)
class OnnxModel:
    """What is needed of an ONNX file.

    Attributes:
        nodes: Operators in topological order.
        constants: Initializers by name.
        shapes: Static shape of every tensor by name.
        dtypes: numpy dtype of every tensor by name.
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.
    """

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, Shape]
    dtypes: dict[str, np.dtype[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def read_onnx(path: Path) -> OnnxModel:
    """Read ``path``, fold its constants with ONNX Runtime and infer its shapes.

    Args:
        path: ONNX file whose inputs have static shapes, or a dynamic batch only.

    Raises:
        ModelError: If the file is not a usable ONNX model, or a dimension other than the batch is dynamic.
        UnsupportedByDirectRoute: If a tensor's shape stays unknown, or a node has a subgraph.
    """
    folded = _fold(path)
    inferred = shape_inference.infer_shapes(folded, strict_mode=False, data_prop=True)
    graph = inferred.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    opset = next((int(i.version) for i in inferred.opset_import if i.domain in {"", "ai.onnx"}), 0)
    nodes = [_node(item, opset) for item in graph.node]
    shapes: dict[str, Shape] = {name: tuple(array.shape) for name, array in constants.items()}
    dtypes = {name: array.dtype for name, array in constants.items()}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        if tensor.elem_type and min(dims, default=1) >= 0 and tensor.HasField("shape"):
            shapes[info.name] = tuple(dims)
            dtypes[info.name] = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return OnnxModel(
        tuple(nodes),
        constants,
        shapes,
        dtypes,
        tuple(item.name for item in graph.input if item.name not in constants),
        tuple(item.name for item in graph.output),
    )


def _fold(path: Path) -> Any:
    """Let ONNX Runtime fold constants, shape computations and batch normalizations."""
    with tempfile.TemporaryDirectory(prefix="edgepose-direct-") as folder:
        source, target = Path(folder) / "static.onnx", Path(folder) / "folded.onnx"
        try:
            model = onnx.load(str(path))
        except Exception as error:  # protobuf raises its own family, which onnx does not wrap
            raise ModelError(f"{path.name} is not a readable ONNX file: {error}.") from error
        _fix_batch(model, path)
        onnx.save(model, str(source))
        fold_locked(source, target)
        return onnx.load(str(target))


def _fix_batch(model: Any, path: Path) -> None:
    constants = {item.name for item in model.graph.initializer}
    dynamic = False
    for item in model.graph.input:
        if item.name in constants:
            continue
        for axis, dim in enumerate(item.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            if axis != 0:
                raise ModelError(
                    f"Input {item.name} of {path.name} has a dynamic dimension at axis {axis}.",
                    "Export the model with static shapes; only the batch may be dynamic (it becomes 1).",
                )
            dim.Clear()
            dim.dim_value = 1
            dynamic = True
    if dynamic:  # shapes that the exporter wrote with a symbolic batch would contradict the new one
        del model.graph.value_info[:]
        for item in model.graph.output:
            for dim in item.type.tensor_type.shape.dim:
                if not dim.HasField("dim_value"):
                    dim.Clear()


def _node(item: Any, opset: int) -> OnnxNode:
    name = item.name or next((o for o in item.output if o), item.op_type)
    if item.domain not in {"", "ai.onnx"}:
        raise UnsupportedByDirectRoute(
            f"Node {name} is {item.domain}.{item.op_type}, not a standard operator."
        )
    attrs = {}
    for attribute in item.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.GraphProto):
            raise UnsupportedByDirectRoute(f"Node {name} ({item.op_type}) holds a subgraph.")
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        attrs[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return OnnxNode(item.op_type, name, tuple(item.input), tuple(item.output), attrs, opset)


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
