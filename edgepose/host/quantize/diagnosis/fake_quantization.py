"""A float model in which one layer is rounded as int8 would round it, everything else exact.

The layer's output goes to int8 and back where it is written, so all readers and the model's outputs see the
rounded values; its weights are stored rounded. Neither names nor order of inputs and outputs change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.tflite_view import read_tflite, tensor_name
from edgepose.host.quantize.qdq.writer import Scale, activation_scale, weight_scale
from edgepose.host.quantize.repair.network import Network, Weighted, along
from edgepose.host.quantize.repair.onnx_network import read_network as read_onnx_network
from edgepose.host.quantize.repair.tflite_network import read_network as read_tflite_network


class OnnxModel:
    """A float ONNX model; sizes that the file does not say are inferred."""

    def __init__(self, model: bytes) -> None:
        import onnx

        self._model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
        graph = self._model.graph
        self._names = {name for node in graph.node for name in node.output} | {e.name for e in graph.input}

    @cached_property
    def network(self) -> Network:
        """What the model computes, step by step."""
        return read_onnx_network(self._model)

    def changed(self, rounded: Mapping[str, Scale], constants: Mapping[str, NDArray[np.float32]]) -> bytes:
        """The file with tensors rounded and constants replaced.

        Raises:
            ValueError: The model has no such tensor.
        """
        model = type(self._model)()
        model.CopyFrom(self._model)
        stored = dict(_stored(model.graph))
        for name in (*rounded, *constants):
            if name not in self._names and name not in stored:
                raise ValueError(f"the model has no tensor '{name}'")
        for name, values in constants.items():
            _replace(stored[name], values)
        for name, scale in rounded.items():
            _round(model.graph, name, scale)
        return bytes(model.SerializeToString(deterministic=True))


def _stored(graph: Any) -> Iterator[tuple[str, Any]]:
    for entry in graph.initializer:
        yield entry.name, entry
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                yield node.output[0], attribute.t


def _replace(entry: Any, values: NDArray[np.float32]) -> None:
    from onnx import numpy_helper

    shaped = np.ascontiguousarray(values, np.float32).reshape(tuple(entry.dims))
    entry.CopyFrom(numpy_helper.from_array(shaped, entry.name))


def _round(graph: Any, name: str, scale: Scale) -> None:
    """The writer writes a twin, which comes back rounded under the old name; an input's readers are moved."""
    from onnx import helper, numpy_helper

    twin, steps = f"{name}/float", f"{name}/steps"
    parameters = [f"{name}/scale", f"{name}/zero_point"]
    for parameter, values in zip(parameters, (scale.scale, scale.zero_point), strict=True):
        graph.initializer.append(numpy_helper.from_array(values, parameter))
    place = next((i for i, node in enumerate(graph.node) if name in node.output), None)
    if place is None:
        for node in graph.node:
            _rename(node.input, name, twin)
        exact, seen, after = name, twin, 0
    else:
        _rename(graph.node[place].output, name, twin)
        exact, seen, after = twin, name, place + 1
    graph.node.insert(after, helper.make_node("DequantizeLinear", [steps, *parameters], [seen], steps))
    graph.node.insert(after, helper.make_node("QuantizeLinear", [exact, *parameters], [steps], exact))


def _rename(names: Any, before: str, after: str) -> None:
    for position, name in enumerate(names):
        if name == before:
            names[position] = after


# BuiltinOperator and its version for float32 to int8 and back, in the TFLite schema.
_QUANTIZE, _DEQUANTIZE = (114, 1), (6, 2)


class TfliteModel:
    """A float TFLite model."""

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
            _tflite_rounding_round(graph, self._find(name), scale)
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


def _tflite_rounding_round(graph: Any, index: int, scale: Scale) -> None:
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


Constants = Mapping[str, NDArray[np.float32]]
# An unsigned integer less this is the signed one that stands for the same value.
_UNSIGNED_TO_SIGNED = 128


RoundableModel = TfliteModel | OnnxModel


def open_roundable(model: bytes) -> RoundableModel:
    """Reads a float TFLite or ONNX file."""
    # A TFLite file says so behind its first offset; an ONNX file has no marker of its own.
    if model[4:8] == b"TFL3":
        return TfliteModel(model)
    return OnnxModel(model)


def int8_scale(low: float, high: float, *, symmetric: bool) -> Scale:
    """Scale of an activation in int8; 0 is exact, the zero point is nudged as the quantizers do it."""
    scale = activation_scale(low, high, symmetric=symmetric)
    if symmetric:
        return scale
    zero = np.array(int(scale.zero_point) - _UNSIGNED_TO_SIGNED, np.int8)
    return Scale(scale.scale, zero)


def rounded_weights(network: Network, step: Weighted) -> NDArray[np.float32]:
    """A layer's weights in int8 with one scale for each output channel, back as float."""
    weights = network.constants[step.weights]
    axis = step.to_matrix[0]
    scale = weight_scale(weights, axis)
    steps: NDArray[Any] = scale.quantize(weights, axis).astype(np.float32)
    return np.asarray(steps * along(scale.scale, axis, weights.ndim), np.float32)
