"""Judges an ONNX file from its bytes, before onnx or ONNX Runtime sees them.

Ops are allowed by name, in subgraphs and functions too; a tensor must be as long as its shape says; data
outside the file must be a regular file beside it, and the part that a tensor names must be there whole
(docs/adr/0034-model-files-are-data.md). Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from edgepose.errors import ModelError
from edgepose.runtime.wire_formats import names_in, protobuf_fields, protobuf_numbers, submessages

# Numeric ops of the standard; left out are those on strings, sequences, optionals and encoded images.
STANDARD_OPS = names_in(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike
    Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax
    Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
    Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool
    Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu
    Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu
    Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unique
    Unsqueeze Upsample Where Xor
    """
)
# What quantizers and exporters for ONNX Runtime write; nothing that loads an engine, a library or Python.
MICROSOFT_OPS = names_in(
    """
    BiasGelu ConvTransposeWithDynamicPads CropAndResize DequantizeLinear DynamicQuantizeMatMul FastGelu
    FusedConv FusedGemm FusedMatMul Gelu GridSample MatMulIntegerToFloat NhwcConv NhwcFusedConv
    NhwcMaxPool QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool
    QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear QuickGelu SkipLayerNormalization
    """
)
_OPS = {"": STANDARD_OPS, "ai.onnx": STANDARD_OPS, "com.microsoft": MICROSOFT_OPS}

_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NAME, _FUNCTION_NODES, _FUNCTION_DOMAIN, _FUNCTION_ATTRIBUTES = 1, 7, 10, 11
_NODE_OP, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
_EXTERNAL = 1
# Bits of an element, by TensorProto.DataType; text (8) has no fixed size and stays in the file.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
# Graphs within graphs; real files have two or three.
_DEEPEST = 16
# The largest tensor that is taken, and the largest part of a file outside.
_TENSOR_LIMIT_BYTES = 4 << 30
_EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})
_LARGEST_OFFSET = 1 << 48

Op = tuple[str, str]


@dataclass(frozen=True, order=True)
class ExternalData:
    """The part of another file that one tensor takes.

    Attributes:
        location: The file, relative to the model's folder, as the model names it.
        offset_bytes: Where the part starts.
        length_bytes: How long it is.
    """

    location: str
    offset_bytes: int
    length_bytes: int


def check_onnx(path: Path, data: bytes | memoryview) -> tuple[ExternalData, ...]:
    """Checks a file and what it keeps outside.

    Args:
        path: Where the file is, for its neighbours.
        data: Its content.

    Returns:
        What its tensors keep in other files, sorted.

    Raises:
        ModelError: The file is damaged, has an op that is not allowed, or its data outside are not where
            they may be, or not whole.
    """
    reader = _Reader(path)
    try:
        reader.read_model(memoryview(data))
    except (ValueError, UnicodeDecodeError) as problem:
        raise ModelError(f"{path.name} is an ONNX model that is truncated or damaged.") from problem
    return tuple(sorted(set(reader.external)))


def open_external(model: Path, part: ExternalData) -> int:
    """Opens a file beside the model, through no link.

    Returns:
        A descriptor, which is the caller's to close.

    Raises:
        ModelError: It is no regular file beside the model, has other names, or is too short.
    """
    parts = PurePosixPath(part.location).parts
    outside = not parts or part.location.startswith("/") or ".." in parts
    if outside or any(character in part.location for character in "\\\0:*"):
        _refuse_external(model, part, "which is not a file beside the model")
    folder = os.open(model.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in parts[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        found = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        _refuse_external(model, part, "which cannot be opened there, or is a link")
    finally:
        os.close(folder)
    status = os.fstat(found)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(found)
        _refuse_external(model, part, "which is no regular file with one name")
    if part.offset_bytes + part.length_bytes > status.st_size:
        os.close(found)
        _refuse_external(
            model,
            part,
            f"which has {status.st_size} bytes, but {part.length_bytes} from {part.offset_bytes} are wanted",
        )
    return found


def _refuse_external(model: Path, part: ExternalData, reason: str) -> NoReturn:
    raise ModelError(
        f"{model.name} keeps weights in {part.location!r}, {reason}.",
        "Copy the model together with its data file, or export it as one file.",
    )


class _Reader:
    """Walks one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._functions: set[Op] = set()
        self.external: list[ExternalData] = []

    def read_model(self, model: memoryview) -> None:
        if any(submessages(model, _MODEL_TRAINING)):
            raise ModelError(f"{self._path.name} carries training steps; expected a model for inference.")
        functions = list(submessages(model, _MODEL_FUNCTIONS))
        named = [(_text(f, _FUNCTION_DOMAIN), _text(f, _FUNCTION_NAME)) for f in functions]
        self._functions = set(named)
        if len(self._functions) != len(named):
            raise ModelError(f"{self._path.name} defines a function twice.")
        calls: dict[Op, set[Op]] = {}
        for name, function in zip(named, functions, strict=True):
            calls[name] = self._read_nodes(submessages(function, _FUNCTION_NODES), 1)
            for attribute in submessages(function, _FUNCTION_ATTRIBUTES):
                calls[name] |= self._read_attribute(attribute, 1)
        self._refuse_circles(calls)
        for graph in submessages(model, _MODEL_GRAPH):
            self._read_graph(graph, 1)

    def _read_graph(self, graph: memoryview, depth: int) -> set[Op]:
        if depth > _DEEPEST:
            raise ModelError(f"{self._path.name} has graphs in more than {_DEEPEST} levels.")
        for tensor in submessages(graph, _GRAPH_TENSORS):
            self._read_tensor(tensor)
        for sparse in submessages(graph, _GRAPH_SPARSE):
            self._read_sparse(sparse)
        return self._read_nodes(submessages(graph, _GRAPH_NODES), depth)

    def _read_nodes(self, nodes: Iterable[memoryview], depth: int) -> set[Op]:
        """Judges nodes and returns the functions of this file that they call."""
        called: set[Op] = set()
        for node in nodes:
            op = _text(node, _NODE_DOMAIN), _text(node, _NODE_OP)
            if op in self._functions:
                called.add(op)
            elif op[1] not in _OPS.get(op[0], frozenset()):
                whole = f"{op[0]}.{op[1]}" if op[0] else op[1]
                raise ModelError(
                    f"{self._path.name} has the op {whole!r}, which is not among the ONNX ops allowed.",
                    "Export the model with standard numeric ops; docs/adr/0034 says which.",
                )
            for attribute in submessages(node, _NODE_ATTRIBUTES):
                called |= self._read_attribute(attribute, depth)
        return called

    def _read_attribute(self, attribute: memoryview, depth: int) -> set[Op]:
        called: set[Op] = set()
        for tensor in submessages(attribute, *_ATTRIBUTE_TENSORS):
            self._read_tensor(tensor)
        for sparse in submessages(attribute, *_ATTRIBUTE_SPARSE):
            self._read_sparse(sparse)
        for graph in submessages(attribute, *_ATTRIBUTE_GRAPHS):
            called |= self._read_graph(graph, depth + 1)
        return called

    def _read_sparse(self, sparse: memoryview) -> None:
        for tensor in submessages(sparse, *_SPARSE_TENSORS):
            self._read_tensor(tensor)

    def _read_tensor(self, tensor: memoryview) -> None:
        dims, element = protobuf_numbers(tensor, _TENSOR_DIMS), protobuf_numbers(tensor, _TENSOR_TYPE)
        bits = _BITS.get(element[-1] if element else 0)
        length = None if bits is None else -(-math.prod(dims) * bits // 8)
        name = _text(tensor, _TENSOR_NAME)
        if min(dims, default=0) < 0 or (length is not None and length > _TENSOR_LIMIT_BYTES):
            raise ModelError(f"{self._path.name} has a tensor {name!r} of an impossible shape {tuple(dims)}.")
        location = protobuf_numbers(tensor, _TENSOR_LOCATION)
        entries = list(submessages(tensor, _TENSOR_EXTERNAL))
        if location[-1:] == [_EXTERNAL]:
            self._read_external(name, entries, length)
            return
        if entries:
            raise ModelError(f"{self._path.name} has a tensor {name!r} both inside and outside the file.")
        raw = list(submessages(tensor, _TENSOR_RAW))
        if raw and len(raw[-1]) != length:
            raise ModelError(
                f"{self._path.name} has a tensor {name!r} of {len(raw[-1])} bytes whose shape needs {length}."
            )

    def _read_external(self, name: str, entries: list[memoryview], length: int | None) -> None:
        pairs = [(_text(entry, 1), _text(entry, 2)) for entry in entries]
        values = dict(pairs)
        if len(values) != len(pairs) or not set(values) <= _EXTERNAL_KEYS or not values.get("location"):
            raise ModelError(
                f"{self._path.name} does not say clearly where the data of tensor {name!r} are outside it."
            )
        offset = self._number(name, values.get("offset", "0"))
        given = self._number(name, values["length"]) if "length" in values else length
        if length is None or given != length:
            raise ModelError(
                f"{self._path.name} takes {given} bytes from {values['location']!r} for tensor {name!r}, "
                f"whose shape and type need {length}."
            )
        part = ExternalData(values["location"], offset, length)
        os.close(open_external(self._path, part))
        self.external.append(part)

    def _number(self, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 15) or int(text) > _LARGEST_OFFSET:
            raise ModelError(
                f"{self._path.name} has {text[:30]!r} as offset or length of tensor {name!r}; expected bytes "
                "from 0 on.",
                "Export the model again; its external data are described wrongly.",
            )
        return int(text)

    def _refuse_circles(self, calls: dict[Op, set[Op]]) -> None:
        """A function that calls itself would be unfolded for ever."""
        left = dict(calls)
        while left:
            ready = [name for name, called in left.items() if not called & left.keys()]
            if not ready:
                raise ModelError(f"{self._path.name} has a function that calls itself.")
            for name in ready:
                del left[name]


def _text(message: memoryview, field: int) -> str:
    """The last text of a field, as parsers read it; empty where there is none."""
    found = ""
    for number, value in protobuf_fields(message):
        if number == field and isinstance(value, memoryview):
            found = bytes(value).decode()
    return found


_CHUNK_BYTES = 1 << 20


def sha256_of_part(model: Path, part: ExternalData) -> str:
    """Digest of what one tensor takes of another file.

    Raises:
        ModelError: It is not where it may be, or not whole.
    """
    digest, left = hashlib.sha256(), part.length_bytes
    with os.fdopen(open_external(model, part), "rb") as stream:
        stream.seek(part.offset_bytes)
        while left:
            chunk = stream.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise ModelError(f"{part.location} became shorter while it was read.")
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
