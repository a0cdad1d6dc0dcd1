"""Writes a finished graph as a .tflite file: the same graph gives the same bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Graph, Op, UnsupportedByDirectRoute, Value
from edgepose.host.convert.direct.operator_table import SPELLINGS, options_of
from edgepose.host.models.tflite_view import CompactBuilder, signature_of

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_TYPES = {
    np.dtype(np.float32): tfl.TensorType.FLOAT32,
    np.dtype(np.int32): tfl.TensorType.INT32,
    np.dtype(np.int64): tfl.TensorType.INT64,
    np.dtype(np.bool_): tfl.TensorType.BOOL,
}


class _FileBuilder:
    """Collects tensors, buffers and operator codes while the operators are walked once."""

    def __init__(self) -> None:
        self.buffers: list[Any] = [tfl.BufferT()]
        self.tensors: list[Any] = []
        self.codes: list[Any] = []
        self._buffer_by_digest: dict[bytes, int] = {}
        self._constant_by_key: dict[tuple[Any, ...], int] = {}
        self._tensor_of: dict[int, int] = {}
        self._code_index: dict[tuple[int, int], int] = {}
        self._names: set[str] = set()

    def tensor(self, value: Value) -> int:
        """Return the index of the tensor that stands for ``value``."""
        found = self._tensor_of.get(id(value))
        if found is None:
            found = (
                self.constant(value.data, value.name) if value.data is not None else self._append(value, 0)
            )
            self._tensor_of[id(value)] = found
        return found

    def constant(self, data: NDArray[Any], name: str) -> int:
        """Return the index of a constant tensor with these elements; equal ones are shared."""
        raw = np.ascontiguousarray(data).reshape(data.shape)
        key = (raw.shape, raw.dtype.str, raw.tobytes())
        if key not in self._constant_by_key:
            value = Value(name, tuple(raw.shape), raw.dtype)
            self._constant_by_key[key] = self._append(value, self._buffer(raw))
        return self._constant_by_key[key]

    def code(self, kind: str, version: int) -> int:
        """Return the index of the operator code."""
        builtin = int(getattr(tfl.BuiltinOperator, kind))
        key = (builtin, version)
        if key not in self._code_index:
            code = tfl.OperatorCodeT()
            code.builtinCode = builtin
            code.deprecatedBuiltinCode = min(builtin, 127)
            code.version = version
            self._code_index[key] = len(self.codes)
            self.codes.append(code)
        return self._code_index[key]

    def _buffer(self, raw: NDArray[Any]) -> int:
        digest = hashlib.sha256(raw.tobytes()).digest()
        if digest not in self._buffer_by_digest:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(raw.tobytes(), np.uint8)
            self._buffer_by_digest[digest] = len(self.buffers)
            self.buffers.append(buffer)
        return self._buffer_by_digest[digest]

    def _append(self, value: Value, buffer: int) -> int:
        if value.dtype not in _TYPES:
            raise UnsupportedByDirectRoute(
                f"Tensor {value.name} has dtype {value.dtype}, which is not written."
            )
        tensor = tfl.TensorT()
        tensor.name = self._unique(value.name)
        tensor.shape = np.asarray(value.shape, np.int32)
        tensor.type = _TYPES[value.dtype]
        tensor.buffer = buffer
        tensor.hasRank = True
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _unique(self, name: str) -> str:
        chosen, number = name, 1
        while chosen in self._names:
            chosen, number = f"{name}_{number}", number + 1
        self._names.add(chosen)
        return chosen


def serialize(graph: Graph, description: str = "edgepose direct") -> bytes:
    """Return the bytes of a .tflite file for ``graph``, whose operators must be sorted.

    Raises:
        UnsupportedByDirectRoute: If an operator or a dtype has no spelling.
    """
    file = _FileBuilder()
    outputs = dict(zip(map(id, graph.outputs), graph.output_names, strict=True))
    for value in graph.outputs:
        value.name = outputs[id(value)]
    # Inputs and outputs first: their names must not get a suffix.
    inputs = [file.tensor(value) for value in graph.inputs]
    output_indices = [file.tensor(value) for value in graph.outputs]
    subgraph = tfl.SubGraphT()
    subgraph.operators = [_operator(file, op) for op in graph.ops]
    subgraph.inputs = np.asarray(inputs, np.int32)
    subgraph.outputs = np.asarray(output_indices, np.int32)
    subgraph.tensors = file.tensors
    subgraph.name = graph.name
    model = tfl.ModelT()
    model.version = SCHEMA_VERSION
    model.description = description
    model.operatorCodes = file.codes
    model.subgraphs = [subgraph]
    model.buffers = file.buffers
    named_inputs = zip((value.name for value in graph.inputs), inputs, strict=True)
    named_outputs = zip(graph.output_names, output_indices, strict=True)
    model.signatureDefs = [signature_of(named_inputs, named_outputs)]
    builder = CompactBuilder(sum(0 if b.data is None else b.data.nbytes for b in file.buffers) + (1 << 16))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _operator(file: _FileBuilder, op: Op) -> Any:
    spelling = SPELLINGS.get(op.kind)
    if spelling is None:
        raise UnsupportedByDirectRoute(f"Operator {op.kind} ({op.origin}) has no spelling in the writer.")
    big = [file.tensor(value) for value in op.inputs]
    small = [file.constant(data, f"{op.output.name}/{op.kind.lower()}") for data in spelling.operands(op)]
    if op.kind == "TRANSPOSE_CONV":  # output shape, weights, input, bias
        big = [big[1], big[0], *big[2:]]
    written = tfl.OperatorT()
    written.opcodeIndex = file.code(op.kind, spelling.version(op))
    written.inputs = np.asarray(small + big if spelling.operands_first else big + small, np.int32)
    written.outputs = np.asarray([file.tensor(value) for value in op.outputs], np.int32)
    written.builtinOptionsType, written.builtinOptions = options_of(op)
    return written
