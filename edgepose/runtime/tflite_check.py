"""Judges a TFLite file from its bytes, before an interpreter sees it.

The structure is checked as FlatBuffers' own verifier does; then what the kernels take for granted: ops by
name, as many inputs and outputs as an op has, tensors that are written before they are read, constants as
long as their shape says, scales that can be divided by. An interpreter is written in C++ for files that a
converter made, and follows a wrong index or a zero scale into a crash (docs/adr/0034).
Slots and codes are those of TFLite's schema.fbs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.runtime.tflite_ops import BITS, CUSTOM, CUSTOM_OPS, OPS, OpRule, Tensor
from edgepose.runtime.wire_formats import DamagedFlatbufferError, Flatbuffer, Table

_QUANTIZED = frozenset({2, 3, 4, 7, 9, 17})
_INT32, _INT64 = 2, 4
_LARGEST_RANK = 8
# One tensor, and all that are computed together: a phone has less.
_TENSOR_LIMIT_BYTES = 512 << 20
_COMPUTED_LIMIT_BYTES = 2 << 30
# Kernels turn quotients of scales into fixed-point numbers and stop the process where they do not fit.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-12, 1e9
# Those of stored weights and biases are only multiplied with; channels without a weight have next to none.
_SMALLEST_STORED_SCALE = 0.0
_DENSE, _SPARSE = 0, 1
_VECTORS = {1: "<i4", 2: "<u2", 3: "u1"}


def check_tflite(data: bytes | memoryview, name: str) -> None:
    """Judges a TFLite file.

    Args:
        data: Its content.
        name: Its name, for messages.

    Raises:
        ModelError: It is damaged, has an op that is not allowed, or would mislead a kernel.
    """
    try:
        _Checker(name, Flatbuffer(data)).model()
    except (DamagedFlatbufferError, UnicodeDecodeError) as problem:
        raise ModelError(
            f"{name} is a TFLite model that is truncated or damaged: {problem}.", "Copy or export it again."
        ) from problem


class _Checker:
    def __init__(self, name: str, file: Flatbuffer) -> None:
        self._name, self._file = name, file
        self._buffers: list[Table] = []
        self._rules: list[OpRule] = []
        self._lengths: list[int] = []

    def model(self) -> None:
        model = self._file.root()
        if model.has(8) or model.has(9):
            raise self._refusal("keeps weights in other files")
        model.number(0, "I")
        model.text(3)
        self._buffers = model.tables(4)
        for buffer in self._buffers:
            if buffer.number(1, "Q") > 1 or buffer.number(2, "Q"):
                raise self._refusal("keeps weights outside its flatbuffer (over 2 GB)")
        self._lengths = [len(buffer.vector(0, "u1")) for buffer in self._buffers]
        self._rules = [self._op_rule(code) for code in model.tables(1)]
        graphs = model.tables(2)
        if not graphs:
            raise self._refusal("has no graph")
        if np.any(model.vector(5, "<i4") < 0) or np.any(model.vector(5, "<i4") >= len(self._buffers)):
            raise self._refusal("has metadata without a buffer")
        for entry in model.tables(6):
            entry.text(0).decode()
            if entry.number(1, "I") >= len(self._buffers):
                raise self._refusal("has metadata without a buffer")
        tensors = [self._graph(graph) for graph in graphs]
        for signature in model.tables(7):
            self._signature(signature, tensors)

    def _op_rule(self, code: Table) -> OpRule:
        number = max(code.number(0, "b"), code.number(3, "i"))
        custom = code.text(1).decode()
        if code.number(2, "i", 1) < 1:
            raise self._refusal("has an op of no version")
        if number == CUSTOM and custom in CUSTOM_OPS:
            return OpRule(custom, 0, 64, 64)
        if number == CUSTOM or number not in OPS:
            raise self._refusal(f"has the op {custom[:80] or number!r}, which is not among those allowed")
        return OPS[number]

    def _graph(self, graph: Table) -> list[Tensor]:
        graph.text(4)
        tables = graph.tables(0)
        tensors = [self._tensor(table) for table in tables]
        inputs, outputs = graph.vector(1, "<i4"), graph.vector(2, "<i4")
        computed = sum(tensor.size_bytes for tensor in tensors if not tensor.is_stored)
        if computed > _COMPUTED_LIMIT_BYTES:
            raise self._refusal(f"needs {computed >> 20} MiB for its results, too much")
        self._indices(inputs, tensors)
        self._indices(outputs, tensors)
        known = {index for index, tensor in enumerate(tensors) if tensor.is_stored or tensor.is_variable}
        if len(set(inputs.tolist())) != len(inputs) or known & set(inputs.tolist()):
            raise self._refusal("has an input that is stored, or stands twice")
        known |= set(inputs.tolist())
        for operator in graph.tables(3):
            self._operator(operator, tensors, known)
        if not set(outputs.tolist()) <= known:
            raise self._refusal("has an output that nothing computes")
        return tensors

    def _tensor(self, table: Table) -> Tensor:
        name = table.text(3)[:80]
        shape = tuple(int(size) for size in table.vector(0, "<i4"))
        kind, buffer = table.number(1, "b"), table.number(2, "I")
        if kind not in BITS or table.has(9) or table.number(10, "I"):
            raise self._refusal(f"has a tensor {name!r} of a type that is not taken")
        if buffer >= len(self._buffers):
            raise self._refusal(f"has a tensor {name!r} without a buffer")
        elements = math.prod(shape)
        if min(shape, default=1) < 0 or len(shape) > _LARGEST_RANK or elements * 8 > _TENSOR_LIMIT_BYTES * 8:
            raise self._refusal(f"has a tensor {name!r} of the shape {shape}")
        signature = table.vector(7, "<i4")
        if len(signature) and not (
            len(signature) == len(shape)
            and all(s in {-1, size} for s, size in zip(signature, shape, strict=True))
        ):
            raise self._refusal(f"has a tensor {name!r} whose shape and signature differ")
        tensor = Tensor(
            shape,
            kind,
            self._scales(table, shape, name, is_stored=bool(self._lengths[buffer])),
            bool(self._lengths[buffer]),
            bool(table.number(5, "B")),
        )
        sparsity = table.table(6)
        needed = tensor.size_bytes if sparsity is None else self._sparse_bytes(sparsity, tensor, name)
        if tensor.size_bytes > _TENSOR_LIMIT_BYTES:
            raise self._refusal(f"has a tensor {name!r} of {tensor.size_bytes >> 20} MiB")
        if tensor.is_stored and (tensor.is_variable or self._lengths[buffer] != needed):
            raise self._refusal(
                f"has a tensor {name!r} of {self._lengths[buffer]} stored bytes whose shape needs {needed}"
            )
        if tensor.is_stored and sparsity is None and kind in {_INT32, _INT64}:
            stored = self._buffers[buffer].vector(0, "u1")
            tensor.values = stored.view("<i4" if kind == _INT32 else "<i8")
        return tensor

    def _scales(
        self, table: Table, shape: tuple[int, ...], name: bytes, *, is_stored: bool
    ) -> NDArray[np.float32]:
        quantization = table.table(4)
        if quantization is None:
            return np.zeros(0, np.float32)
        for slot in (0, 1):
            quantization.vector(slot, "<f4")
        scales, zero_points = quantization.vector(2, "<f4"), quantization.vector(3, "<i8")
        axis = quantization.number(6, "i")
        if quantization.number(4, "B") or quantization.has(5):
            raise self._refusal(f"has a tensor {name!r} that is quantized in an unknown way")
        fits = len(scales) <= 1 or (0 <= axis < len(shape) and len(scales) == shape[axis])
        if not fits or len(zero_points) not in {0, 1, len(scales)} or not 0 <= axis < max(len(shape), 1):
            raise self._refusal(
                f"has a tensor {name!r} with {len(scales)} scales, which its shape does not have"
            )
        if len(scales) and len(zero_points) != len(scales):
            raise self._refusal(f"has a tensor {name!r} with scales and no zero points")
        smallest = _SMALLEST_STORED_SCALE if is_stored else _SMALLEST_SCALE
        usable = np.isfinite(scales) & (scales >= smallest) & (scales <= _LARGEST_SCALE)
        if not usable.all():
            raise self._refusal(
                f"has a tensor {name!r} with the scale {scales[~usable][0]:.3g}, which kernels cannot use"
            )
        self._zero_points(zero_points, table.number(1, "b"), name)
        return scales

    def _zero_points(self, zero_points: NDArray[np.int64], kind: int, name: bytes) -> None:
        """A zero point is one of the type's own numbers; types of 16 bits and more have it at zero."""
        lowest, highest = {3: (0, 255), 9: (-128, 127), 17: (-8, 7)}.get(kind, (0, 0))
        if (
            kind in _QUANTIZED
            and len(zero_points)
            and not (lowest <= zero_points.min() and zero_points.max() <= highest)
        ):
            raise self._refusal(f"has a tensor {name!r} with a zero point that its type does not have")

    def _sparse_bytes(self, sparsity: Table, tensor: Tensor, name: bytes) -> int:
        """Bytes that a sparse tensor stores, after its index was followed level by level."""
        order, blocks = sparsity.vector(0, "<i4").tolist(), sparsity.vector(1, "<i4").tolist()
        levels = sparsity.tables(2)
        rank = len(tensor.shape)
        if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order):
            raise self._refusal(f"has a sparse tensor {name!r} whose levels are wrong")
        if len(set(blocks)) != len(blocks) or not set(blocks) <= set(range(rank)):
            raise self._refusal(f"has a sparse tensor {name!r} whose blocks are wrong")
        sizes = list(tensor.shape)
        for place, axis in enumerate(blocks):
            block = levels[order.index(rank + place)].number(1, "i")
            if block < 1 or sizes[axis] % block:
                raise self._refusal(f"has a sparse tensor {name!r} whose blocks are wrong")
            sizes[axis] //= block
            sizes.append(block)
        count = 1
        for axis, level in zip(order, levels, strict=True):
            count = self._level(level, count, sizes[axis], name)
        return -(-count * BITS[tensor.type] // 8)

    def _level(self, level: Table, count: int, size: int, name: bytes) -> int:
        kind = level.number(0, "b")
        if kind == _DENSE:
            if level.number(1, "i") != size:
                raise self._refusal(f"has a sparse tensor {name!r} whose sizes are wrong")
            return count * size
        parts = [self._numbers(level, slot, name) for slot in (2, 4)]
        segments, indices = (part.astype(np.int64) for part in parts)
        whole = kind == _SPARSE and len(segments) == count + 1 and segments[0] == 0
        if not whole or np.any(np.diff(segments) < 0) or len(indices) != segments[-1]:
            raise self._refusal(f"has a sparse tensor {name!r} whose index is wrong")
        if len(indices) and not (indices.min() >= 0 and indices.max() < size):
            raise self._refusal(f"has a sparse tensor {name!r} whose index is wrong")
        return len(indices)

    def _numbers(self, level: Table, slot: int, name: bytes) -> NDArray[np.integer]:
        kind, vector = level.number(slot, "B"), level.table(slot + 1)
        if kind not in _VECTORS or vector is None:
            raise self._refusal(f"has a sparse tensor {name!r} whose index is wrong")
        return vector.vector(0, _VECTORS[kind])

    def _operator(self, operator: Table, tensors: list[Tensor], known: set[int]) -> None:
        index = operator.number(0, "I")
        if index >= len(self._rules):
            raise self._refusal("uses an op that it does not list")
        rule = self._rules[index]
        inputs, outputs = operator.vector(1, "<i4"), operator.vector(2, "<i4")
        for slot in (5, 7):
            operator.vector(slot, "u1")
        if operator.number(9, "Q") or operator.number(10, "Q") or operator.number(11, "B"):
            raise self._refusal(f"has the op {rule.name} with options that are not taken")
        self._indices(operator.vector(8, "<i4"), tensors)
        self._indices(outputs, tensors)
        self._indices(inputs[inputs != -1], tensors)
        if not (
            rule.least_inputs <= len(inputs) <= rule.most_inputs and 1 <= len(outputs) <= rule.most_outputs
        ):
            raise self._refusal(f"has the op {rule.name} with {len(inputs)} inputs, {len(outputs)} outputs")
        if np.any(inputs[: rule.least_inputs] == -1) or (np.any(inputs == -1) and not rule.optional):
            raise self._refusal(f"has the op {rule.name} without an input that it needs")
        if not set(inputs[inputs != -1].tolist()) <= known:
            raise self._refusal(f"has the op {rule.name} before what it reads is computed")
        written = set(outputs.tolist())
        if written & known or len(written) != len(outputs):
            raise self._refusal(f"has the op {rule.name} that writes where something is already")
        options = self._options(operator, rule)
        given = [tensors[i] if i >= 0 else None for i in inputs]
        problem = rule.problem(given, [tensors[i] for i in outputs], options)
        if problem:
            raise self._refusal(f"has the op {rule.name} with {problem}")
        known |= written

    def _options(self, operator: Table, rule: OpRule) -> dict[str, float]:
        kind, table = operator.number(3, "B"), operator.table(4)
        if kind not in {0, rule.options} or (kind and table is None):
            raise self._refusal(f"has the op {rule.name} with the options of another op")
        if table is None or not kind:
            return {}
        read: dict[str, float] = {}
        for slot, (label, code) in rule.fields.items():
            if code == "v":
                table.vector(slot, "<i4")
            else:
                read[label] = table.number(slot, code, rule.defaults.get(label, 0))
        return read

    def _signature(self, signature: Table, tensors: list[list[Tensor]]) -> None:
        graph = signature.number(4, "I")
        signature.text(2).decode()
        if graph >= len(tensors):
            raise self._refusal("has a signature of a graph that is not there")
        for entry in (*signature.tables(0), *signature.tables(1)):
            entry.text(0).decode()
            if entry.number(1, "I") >= len(tensors[graph]):
                raise self._refusal("has a signature that names a tensor that is not there")

    def _indices(self, indices: NDArray[np.integer], tensors: list[Tensor]) -> None:
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(tensors)):
            raise self._refusal("names a tensor that is not there")

    def _refusal(self, what: str) -> ModelError:
        return ModelError(
            f"{self._name} is a TFLite model that {what}.", "Convert or export the model again."
        )
