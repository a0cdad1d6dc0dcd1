"""The same tiny model in both formats: ``sigmoid(2 x + 1)``, three ops, written byte by byte here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from numpy.typing import NDArray
from onnx import TensorProto, helper

SHAPE = (1, 4, 6, 3)
OPS = 3
Size = int | str | None


def expected_output(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model gives."""
    return np.asarray(1 / (1 + np.exp(-(2 * values.astype(np.float64) + 1))), np.float32)


def write_onnx(
    path: Path,
    *,
    shape: tuple[Size, ...] = SHAPE,
    inputs: int = 1,
    element_type: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Writes the model as ONNX.

    Args:
        path: Where to write.
        shape: Input shape; text or None leaves a size open.
        inputs: Number of inputs; all but the first are only added.
        element_type: Type of the inputs.
        metadata: Entries of ``metadata_props``.
    """
    names = [f"image{i}" for i in range(inputs)]
    nodes = [helper.make_node("Mul", [names[0], "two"], ["doubled"])]
    nodes += [helper.make_node("Add", ["doubled", "one"], ["sum0"])]
    nodes += [helper.make_node("Add", [f"sum{i - 1}", names[i]], [f"sum{i}"]) for i in range(1, inputs)]
    nodes += [helper.make_node("Sigmoid", [f"sum{inputs - 1}"], ["result"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, element_type, shape) for name in names],
        [helper.make_tensor_value_info("result", element_type, None)],
        [
            helper.make_tensor("two", element_type, [], [2.0]),
            helper.make_tensor("one", element_type, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def write_tflite(
    path: Path,
    *,
    signature: tuple[int, ...] | None = None,
    inputs: int = 1,
    metadata: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Writes the model as TFLite, through the schema's object API.

    Args:
        path: Where to write.
        signature: ``shape_signature`` of the input; -1 leaves a size open.
        inputs: Number of inputs; all but the first are only added.
        metadata: Entries of ``Model.metadata``.
    """
    model = schema.ModelT()
    model.version, model.description = 3, "tiny"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [_code(name) for name in ("MUL", "ADD", "LOGISTIC")]
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = "main", [], []
    shape = SHAPE if signature is None else tuple(max(size, 1) for size in signature)
    pictures = [_tensor(graph, f"image{i}", shape, signature) for i in range(inputs)]
    current = pictures[0]
    for code, value in ((0, 2.0), (1, 1.0)):
        constant = _tensor(graph, f"constant{code}", (1,), None, _buffer(model, np.float32(value).tobytes()))
        current = _operator(graph, code, [current, constant], shape)
    for picture in pictures[1:]:
        current = _operator(graph, 1, [current, picture], shape)
    current = _operator(graph, 2, [current], shape)
    graph.inputs, graph.outputs = pictures, [current]
    model.subgraphs, model.metadata = [graph], []
    for name, content in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name = name
        entry.buffer = _buffer(model, content.encode() if isinstance(content, str) else content)
        model.metadata.append(entry)
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _code(name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    return code


def _buffer(model: schema.ModelT, content: bytes) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _tensor(
    graph: schema.SubGraphT,
    name: str,
    shape: tuple[int, ...],
    signature: tuple[int, ...] | None = None,
    buffer: int = 0,
) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    if signature is not None:
        tensor.shapeSignature = list(signature)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(graph: schema.SubGraphT, code: int, inputs: list[int], shape: tuple[int, ...]) -> int:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs = code, inputs
    if code == 0:
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.MulOptions,
            schema.MulOptionsT(),
        )
    elif code == 1:
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.AddOptions,
            schema.AddOptionsT(),
        )
    output = _tensor(graph, f"result{len(graph.operators)}", shape)
    operator.outputs = [output]
    graph.operators.append(operator)
    return output
