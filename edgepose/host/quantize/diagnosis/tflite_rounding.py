"""Puts QUANTIZE and DEQUANTIZE behind tensors of a float TFLite file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.qdq.scales import Scale
from edgepose.host.quantize.repair.network import Network
from edgepose.host.quantize.repair.tflite_network import read_network as read_tflite_network
from edgepose.host.quantize.tflite_graph import read_tflite, tensor_name

# BuiltinOperator and its version for float32 to int8 and back, in the TFLite schema.
_QUANTIZE, _DEQUANTIZE = (114, 1), (6, 2)


class TfliteModel:
    """A float TFLite model.

    Args:
        model: The file's bytes.
    """

    def __init__(self, model: bytes) -> None:
        self._graph = read_tflite(model)
        self._index = {tensor_name(t): i for i, t in enumerate(self._graph.subgraphs[0].tensors)}

    @cached_property
    def network(self) -> Network:
        """What the model computes, step by step."""
        return read_tflite_network(self._graph)

    def changed(self, rounded: Mapping[str, Scale], constants: Mapping[str, NDArray[np.float32]]) -> bytes:
        """The file with tensors rounded and constants replaced.

        Raises:
            ValueError: The model has no such tensor.
        """
        from ai_edge_litert.tools import flatbuffer_utils

        graph = _shallow_copy(self._graph)
        for name, values in constants.items():
            _replace_constant(graph, self._find(name), values)
        for name, scale in rounded.items():
            _round(graph, self._find(name), scale)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))

    def _find(self, name: str) -> int:
        if name not in self._index:
            raise ValueError(f"the model has no tensor '{name}'")
        return self._index[name]


def _shallow_copy(graph: Any) -> Any:
    """Lists of its own, whose entries are replaced and never changed."""
    made, subgraph = copy.copy(graph), copy.copy(graph.subgraphs[0])
    made.subgraphs = [subgraph, *graph.subgraphs[1:]]
    made.buffers, made.operatorCodes = list(graph.buffers), list(graph.operatorCodes)
    subgraph.tensors, subgraph.operators = list(subgraph.tensors), list(subgraph.operators)
    return made


def _replace_constant(graph: Any, index: int, values: NDArray[np.float32]) -> None:
    buffer = copy.copy(graph.buffers[graph.subgraphs[0].tensors[index].buffer])
    buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
    tensor = copy.copy(graph.subgraphs[0].tensors[index])
    graph.buffers.append(buffer)
    tensor.buffer = len(graph.buffers) - 1
    graph.subgraphs[0].tensors[index] = tensor


def _round(graph: Any, index: int, scale: Scale) -> None:
    """The writer writes a twin, which comes back rounded under the old name; an input's readers are moved."""
    subgraph = graph.subgraphs[0]
    steps = _integer_twin(graph, index, scale)
    twin = _twin(graph, index, "/float")
    place = next((i for i, op in enumerate(subgraph.operators) if index in list(op.outputs)), None)
    if place is None:
        # Nothing writes an input: its readers read the twin.
        subgraph.operators = [_with(op, "inputs", index, twin) for op in subgraph.operators]
        exact, seen, after = index, twin, 0
    else:
        subgraph.operators[place] = _with(subgraph.operators[place], "outputs", index, twin)
        exact, seen, after = twin, index, place + 1
    subgraph.operators[after:after] = [
        _operator(graph, _QUANTIZE, exact, steps),
        _operator(graph, _DEQUANTIZE, steps, seen),
    ]


def _twin(graph: Any, index: int, suffix: str) -> int:
    tensors = graph.subgraphs[0].tensors
    tensor = copy.copy(tensors[index])
    tensor.name = (tensor_name(tensor) + suffix).encode()
    tensor.buffer = 0
    tensors.append(tensor)
    return len(tensors) - 1


def _integer_twin(graph: Any, index: int, scale: Scale) -> int:
    from ai_edge_litert.schema_py_generated import QuantizationParametersT, TensorType

    made = _twin(graph, index, "/steps")
    tensor = graph.subgraphs[0].tensors[made]
    tensor.type = TensorType.INT8
    tensor.quantization = QuantizationParametersT()
    tensor.quantization.scale = np.array([scale.scale], np.float32)
    tensor.quantization.zeroPoint = np.array([scale.zero_point], np.int64)
    return made


def _operator(graph: Any, code: tuple[int, int], source: int, output: int) -> Any:
    from ai_edge_litert.schema_py_generated import OperatorCodeT, OperatorT

    entry = OperatorCodeT()
    entry.builtinCode = entry.deprecatedBuiltinCode = code[0]
    entry.version = code[1]
    graph.operatorCodes.append(entry)
    op = OperatorT()
    op.opcodeIndex = len(graph.operatorCodes) - 1
    op.inputs, op.outputs = np.array([source], np.int32), np.array([output], np.int32)
    return op


def _with(op: Any, side: str, before: int, after: int) -> Any:
    """An op that reads or writes one tensor in place of another."""
    indices = [int(i) for i in getattr(op, side)] if getattr(op, side) is not None else []
    if before not in indices:
        return op
    made = copy.copy(op)
    setattr(made, side, np.array([after if i == before else i for i in indices], np.int32))
    return made
