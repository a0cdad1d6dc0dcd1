"""Reads an ONNX file into plain nodes: constants folded, every shape static, the batch fixed at 1."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from edgepose.errors import ModelError
from edgepose.host.convert.direct.graph_ir import Shape, UnsupportedByDirectRoute
from edgepose.host.convert.onnx_folding import fold_locked


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
