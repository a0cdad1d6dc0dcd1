"""Turns ONNX nodes into the graph, one after another.

An ONNX tensor keeps its axis order here. Operators that TensorFlow Lite only has for NHWC stand between two
TRANSPOSE operators; the layout pass removes nearly all of them afterwards. Before that
constants are folded, every shape is made static and the batch fixed at 1.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.convert.direct.graph_ir import Graph, Shape, UnsupportedByDirectRoute, Value
from edgepose.host.models.locked_loader import LoaderTask, reason_of, run_locked
from edgepose.host.models.onnx_view import OnnxGraph, attribute, numpy_name
from edgepose.runtime.model_file import ModelFile, as_model_file


def fold_locked(source: Path, output: Path) -> None:
    """Has ONNX Runtime load a model and write it folded, in a process that is locked in.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        MissingDependencyError: onnxruntime is not installed, or the kernel locks no process in.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            "Folding an ONNX model needs onnxruntime.", "Run: pip install 'edgepose[convert]'"
        )
    code, said = run_locked(LoaderTask(_FOLD_WORKER, [str(source.resolve())], source, outputs=(output,)))
    if code:
        raise ModelError(f"The model cannot be loaded by ONNX Runtime: {reason_of(code, said)}.")


def read_onnx(source: Path | ModelFile) -> OnnxGraph:
    """Reads an ONNX file, has ONNX Runtime fold its constants and infers its shapes.

    Raises:
        ModelError: If the file is not a usable ONNX model, or a dimension other than the batch is dynamic.
        UnsupportedByDirectRoute: If a node is no standard operator, or has a subgraph.
    """
    folded = _fold(as_model_file(source))
    graph = OnnxGraph(shape_inference.infer_shapes(folded, strict_mode=False, data_prop=True))
    for node in graph.nodes:
        if node.domain not in {"", "ai.onnx"}:
            raise UnsupportedByDirectRoute(
                f"Node {name_of(node)} is {node.domain}.{node.op_type}, not a standard operator."
            )
        if any(entry.type == entry.GRAPH for entry in node.attribute):
            raise UnsupportedByDirectRoute(f"Node {name_of(node)} ({node.op_type}) holds a subgraph.")
    return graph


def name_of(node: Any) -> str:
    """A node's name, or its first output's where it has none."""
    return str(node.name or next((name for name in node.output if name), node.op_type))


def _fold(source: ModelFile) -> Any:
    """Lets ONNX Runtime fold constants, shape computations and batch normalizations."""
    try:
        model = onnx.load_model_from_string(bytes(source.data))
        outside = any(entry.external_data for entry in model.graph.initializer)
        onnx.load_external_data_for_model(model, str(source.path.parent))
    except Exception as error:  # protobuf raises its own family, which onnx does not wrap
        raise ModelError(f"{source.name} is not a readable ONNX file: {error}.") from error
    with tempfile.TemporaryDirectory(prefix="edgepose-direct-") as folder:
        static, folded = source.path, Path(folder) / "folded.onnx"
        if _fix_batch(model, source.path) or outside:
            static = Path(folder) / "static.onnx"
            onnx.save(model, str(static))
        fold_locked(static, folded)
        return onnx.load(str(folded))


def _fix_batch(model: Any, path: Path) -> bool:
    """Fixes an open batch at 1; says whether it was open."""
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
    return dynamic


NHWC_FROM_NCHW = (0, 2, 3, 1)
NCHW_FROM_NHWC = (0, 3, 1, 2)
# Grey, RGB, RGBA.
_IMAGE_CHANNELS = frozenset((1, 3, 4))

_FOLD_WORKER = "edgepose.host.convert.fold_worker"


@dataclass
class NodeImport:
    """One node while it is imported: its operands, and where its operators go.

    Attributes:
        node: The ONNX node, a ``NodeProto``.
        inputs: Its operands; None for an absent optional one.
        shapes: Static shapes of its outputs, as inferred; None where unknown.
        opset: Version of the operator set.
    """

    graph: Graph
    node: Any
    inputs: list[Value | None]
    shapes: list[Shape | None]
    opset: int

    @property
    def name(self) -> str:
        """The node's name, for messages."""
        return name_of(self.node)

    @property
    def x(self) -> Value:
        """The first operand."""
        return self.operand(0)

    def operand(self, position: int) -> Value:
        """Return a required operand."""
        value = self.optional(position)
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
        absent = value is None or (value.data is not None and value.data.size == 0)
        return None if absent else self.constant(position)

    def attr(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        value = attribute(self.node, name, default)
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value

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
        name = self.graph.fresh(self.node.output[0])
        return self.graph.emit(kind, inputs, result, attrs, name=name, origin=self.name, dtype=dtype)

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

    def slice(self, value: Value, axis: int, start: int, stop: int) -> Value:
        """Return ``value`` from ``start`` to before ``stop`` along ``axis``."""
        begin, end = [0] * len(value.shape), list(value.shape)
        begin[axis], end[axis] = start, stop
        shape = [e - b for b, e in zip(begin, end, strict=True)]
        return self.emit("SLICE", [value], shape, begin=tuple(begin), end=tuple(end))

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
            f"The direct route cannot convert ONNX {self.node.op_type} (node {self.name}): {why}."
        )


Handler = Callable[[NodeImport], "Value | list[Value]"]


def import_graph(source: OnnxGraph, handlers: dict[str, Handler]) -> Graph:
    """Builds the graph of a folded ONNX model.

    4-D inputs become NHWC, followed by a TRANSPOSE back to ONNX's order.

    Raises:
        UnsupportedByDirectRoute: If a node has no handler or its handler refuses it.
    """
    graph = Graph()
    values = {name: graph.constant(source.stored(name), name) for name in source.initializers}
    for name in source.inputs:
        values[name] = _input(graph, name, source)
    for node in source.nodes:
        handler = handlers.get(node.op_type)
        if handler is None:
            raise UnsupportedByDirectRoute(
                f"The direct route has no conversion for ONNX {node.op_type} (node {name_of(node)})."
            )
        operands = [_operand(values, name, node) for name in node.input]
        shapes = [source.shape(name) for name in node.output]
        results = handler(NodeImport(graph, node, operands, shapes, source.opset))
        listed = results if isinstance(results, list) else [results]
        for name, shape, value in zip(node.output, shapes, listed, strict=False):
            if shape is not None and shape != value.shape:
                raise UnsupportedByDirectRoute(
                    f"ONNX {node.op_type} (node {name_of(node)}) should give {name} the shape {list(shape)}; "
                    f"the direct route found {list(value.shape)}."
                )
            values[name] = value
    graph.outputs = [_output(graph, values[name]) for name in source.outputs]
    graph.output_names = list(source.outputs)
    return graph


def _operand(values: dict[str, Value], name: str, node: Any) -> Value | None:
    if not name:
        return None
    if name not in values:
        raise UnsupportedByDirectRoute(
            f"ONNX {node.op_type} (node {name_of(node)}) reads {name}, which nothing wrote."
        )
    return values[name]


def _input(graph: Graph, name: str, source: OnnxGraph) -> Value:
    shape = source.shape(name)
    if shape is None:
        raise UnsupportedByDirectRoute(f"Input {name} has no static shape.")
    dtype = np.dtype(numpy_name(source.elements[name]))
    # ONNX files made from TensorFlow have images as NHWC already.
    if len(shape) != 4 or (shape[3] in _IMAGE_CHANNELS and shape[1] not in _IMAGE_CHANNELS):
        value = Value(name, shape, dtype)
        graph.inputs.append(value)
        graph.inputs_as_in_onnx.add(name)
        return value
    value = Value(name, tuple(shape[axis] for axis in NHWC_FROM_NCHW), dtype)
    graph.inputs.append(value)
    return graph.emit("TRANSPOSE", [value], shape, {"perm": NCHW_FROM_NHWC}, origin=name)


def _output(graph: Graph, value: Value) -> Value:
    """Give each output an operator of its own, so that it can be named, and is neither input nor constant."""
    return graph.emit("RESHAPE", [value], value.shape, {"shape": value.shape}, origin="output")
