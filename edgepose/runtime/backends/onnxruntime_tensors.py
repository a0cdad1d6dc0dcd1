"""Every intermediate tensor of an ONNX model, by the float parent's names; works without the onnx package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.runtime.wire_formats import protobuf_field, protobuf_fields

Result = TypeVar("Result")

# onnxruntime's quantizer calls the real values of tensor X so after it has been through QDQ.
_DEQUANTIZED_SUFFIX = "_DequantizeLinear_Output"
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Constant"})
_INTEGER_OPS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "Integer")
# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP_TYPE = 1, 2, 4
_TENSOR_NAME, _VALUE_INFO_NAME = 8, 1
_LOG_FATAL_ONLY = 4


class OnnxTensors:
    """An ONNX model that gives all its tensors.

    Args:
        path: The file, which loads (it was opened by a backend before).

    Raises:
        ModelError: The file cannot be read tensor by tensor.
    """

    channel_axis = 1

    def __init__(self, path: Path) -> None:
        import onnxruntime

        data = path.read_bytes()
        try:
            graph = _Graph.read(data)
        except ValueError as problem:
            raise ModelError(
                f"{path} is no whole ONNX file: {problem}.", "Copy or export it again."
            ) from problem
        self._op_by_name = {
            name: node.op_type
            for node in graph.nodes
            if node.op_type not in _CONVERSIONS
            for name in node.outputs
            if name
        }
        self.holds_integers = any(part in node.op_type for node in graph.nodes for part in _INTEGER_OPS)
        tensor_of = _tensor_by_parent_name(graph)
        options = onnxruntime.SessionOptions()
        # Optimizations would remove the very tensors asked for.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = _LOG_FATAL_ONLY
        wanted = sorted(set(tensor_of.values()) - graph.outputs)
        try:
            self._session = onnxruntime.InferenceSession(
                data + _more_outputs(wanted), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:
            # ONNX Runtime's exceptions share no base class but Exception.
            raise ModelError(f"{path.name} cannot be run tensor by tensor: {problem}.") from problem
        self._names, self._tensors = list(tensor_of), list(tensor_of.values())
        self._values: dict[str, NDArray[Any]] = {}
        self.input_name = str(self._session.get_inputs()[0].name)

    def op_of(self, name: str) -> str:
        """Name of the op that writes a tensor."""
        return self._op_by_name.get(name, "")

    def run(self, values: NDArray[Any]) -> None:
        """Runs the model and keeps every tensor until the next run."""
        results = self._session.run(self._tensors, {self.input_name: values})
        self._values = {
            name: result
            for name, result in zip(self._names, results, strict=True)
            if isinstance(result, np.ndarray) and np.issubdtype(result.dtype, np.floating) and result.size
        }

    def names(self) -> list[str]:
        """The float tensors of the last run, in the order of the ops."""
        return list(self._values)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor of the last run."""
        return self._values[name].astype(np.float32, copy=False)

    def look_at(self, name: str, look: Callable[[NDArray[np.float32]], Result]) -> Result:
        """Lets ``look`` read a tensor in place; it must not keep the array."""
        return look(self.tensor(name))


@dataclass(frozen=True)
class _Node:
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class _Graph:
    """The names of a model's main graph."""

    nodes: tuple[_Node, ...]
    stored: frozenset[str]
    outputs: frozenset[str]

    @classmethod
    def read(cls, data: bytes) -> _Graph:
        nodes: list[_Node] = []
        stored: set[str] = set()
        outputs: set[str] = set()
        for graph in _messages(data, _MODEL_GRAPH):
            for number, content in protobuf_fields(graph):
                if not isinstance(content, bytes):
                    continue
                if number == _GRAPH_NODE:
                    nodes.append(_node(content))
                elif number == _GRAPH_INITIALIZER:
                    stored.update(_texts(content, _TENSOR_NAME))
                elif number == _GRAPH_OUTPUT:
                    outputs.update(_texts(content, _VALUE_INFO_NAME))
        return cls(tuple(nodes), frozenset(stored), frozenset(outputs))


def _node(content: bytes) -> _Node:
    return _Node(
        op_type="".join(_texts(content, _NODE_OP_TYPE)),
        inputs=tuple(_texts(content, _NODE_INPUT)),
        outputs=tuple(_texts(content, _NODE_OUTPUT)),
    )


def _messages(data: bytes, number: int) -> Iterator[bytes]:
    for found, content in protobuf_fields(data):
        if found == number and isinstance(content, bytes):
            yield content


def _texts(data: bytes, number: int) -> Iterator[str]:
    for content in _messages(data, number):
        yield content.decode()


def _more_outputs(names: list[str]) -> bytes:
    """A message that adds graph outputs to the model whose bytes it is appended to."""
    entries = (protobuf_field(_VALUE_INFO_NAME, name.encode()) for name in names)
    return protobuf_field(_MODEL_GRAPH, b"".join(protobuf_field(_GRAPH_OUTPUT, entry) for entry in entries))


def _tensor_by_parent_name(graph: _Graph) -> dict[str, str]:
    """The parent's tensor name to the tensor here that holds its value."""
    tensors: dict[str, str] = {}
    for node in graph.nodes:
        for name in node.outputs:
            if not name or (node.op_type in _CONVERSIONS and node.inputs and node.inputs[0] in graph.stored):
                continue
            if name.endswith(_DEQUANTIZED_SUFFIX):
                tensors[name.removesuffix(_DEQUANTIZED_SUFFIX)] = name
            elif node.op_type not in _CONVERSIONS or name in graph.outputs:
                tensors.setdefault(name, name)
    return tensors
