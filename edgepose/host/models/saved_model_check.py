"""Judges a SavedModel from its bytes, before TensorFlow sees them: ops, graphs, objects, files.

Ops are allowed by name, in the main graph, in every function and initializer. What a saver needs, ops that
write and read checkpoints, may only stand where nothing that is loaded or served leads. Field numbers are
those of TensorFlow's saved_model.proto, graph.proto, function.proto and saved_object_graph.proto
(docs/adr/0034-model-files-are-data.md).
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from edgepose.errors import ModelError
from edgepose.runtime.model_file import MODEL_LIMIT_BYTES
from edgepose.runtime.wire_formats import names_in, protobuf_fields, protobuf_numbers, submessages

GRAPH_NAME = "saved_model.pb"
_GRAPH_LIMIT_BYTES = 512 << 20
_VARIABLES = re.compile(r"variables\.(index|data-\d{5}-of-\d{5})")
_MOST_FILES = 64
# Files that exporters leave and no one here reads; they are not given to TensorFlow.
_IGNORED = names_in("fingerprint.pb keras_metadata.pb")
_FOLDERS = names_in("variables assets")

_NUMERIC_OPS = names_in(
    """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool
    AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BiasAddV1 Bitcast
    BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Bucketize Cast Ceil CheckNumerics
    ClipByValue Complex ComplexAbs Concat ConcatV2 Const Conv2D Conv3D Conv2DBackpropInput
    Conv3DBackpropInputV2 Conv Cos Cosh CropAndResize Cross Cumprod Cumsum CumulativeLogsumexp
    DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Diag DiagPart Digamma
    Dilation2D Div DivNoNan DynamicPartition DynamicStitch ParallelDynamicStitch Einsum Elu Empty
    EnsureShape Equal Erf Erfc Exp ExpandDims Expm1 ExtractImagePatches FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual
    GuaranteeConst Identity IdentityN Inv InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu
    Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart
    MatrixDiag MatrixDiagPart MatrixDiagPartV3 MatrixDiagV3 Max MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Neg NoOp NonMaxSuppression
    NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    CombinedNonMaxSuppression NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault
    Pow PreventGradient Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
    Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor Reverse ReverseSequence ReverseV2 RightShift LeftShift Rint Roll Round Rsqrt
    ScaleAndTranslate ScatterNd TensorScatterUpdate TensorScatterAdd TensorScatterMax TensorScatterMin
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size
    Slice Snapshot Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square
    SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tan Tanh TensorScatterSub Tile TopK
    TopKV2 Transpose TruncateDiv TruncateMod Unpack Unique UniqueV2 UnravelIndex Where Xdivy Xlogy
    ZerosLike RandomUniform RandomStandardNormal StatelessRandomUniform StatelessRandomUniformV2
    StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomGetKeyCounter StatelessRandomGetAlg
    VarHandleOp ReadVariableOp AssignVariableOp AssignAddVariableOp AssignSubVariableOp
    VarIsInitializedOp VariableShape ResourceGather ResourceGatherNd DestroyResourceOp DisableCopyOnRead
    TensorListReserve TensorListSetItem TensorListGetItem TensorListStack TensorListFromTensor
    TensorListLength TensorListElementShape EmptyTensorList TensorListPushBack TensorListPopBack _Arg
    _Retval Enter Exit Merge NextIteration Switch LoopCond
    """
)
# They run functions, which are judged where they stand in the library.
_CALLS = names_in(
    "PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase"
)
_SAVER_OPS = names_in(
    """
    SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename StringJoin StaticRegexFullMatch Select
    StringLength Substr StringToHashBucketFast
    """
)
# What an object of a saved graph may be: a plain object, functions, variables, constants, captured tensors.
_USER, _ASSET, _FUNCTION, _VARIABLE, _BARE_FUNCTION, _RESOURCE = 4, 5, 6, 7, 8, 10
_SAVEABLES, _REGISTERED_NAME, _USER_PROTO, _REGISTERED_SAVER = 11, 13, 14, 16
_META_GRAPHS, _GRAPH_DEF, _ASSET_FILES, _OBJECT_GRAPH = 2, 2, 6, 7
_GRAPH_NODES, _GRAPH_LIBRARY = 1, 2
_LIBRARY_FUNCTIONS, _FUNCTION_SIGNATURE, _FUNCTION_NODES, _OP_NAME = 1, 1, 3, 1
_NODE_OP, _NODE_ATTRIBUTES = 2, 5
_VALUE_LIST, _VALUE_SHAPE, _VALUE_TENSOR, _VALUE_FUNCTION = 1, 7, 8, 10
_LIST_TENSORS, _LIST_FUNCTIONS = 8, 9
_TENSOR_SHAPE, _SHAPE_DIMS = 2, 2
_OBJECT_NODES, _OBJECT_FUNCTIONS = 1, 2
# Values of one constant or variable; 2 GiB in float32.
_VALUES_LIMIT = 1 << 29


def check_saved_model(folder: Path) -> tuple[Path, ...]:
    """Judges a SavedModel's folder; returns the files that TensorFlow may be given, relative to it.

    Raises:
        ModelError: It is damaged, or has an op, object or file that is not allowed.
    """
    files = _files(folder)
    graph = folder / GRAPH_NAME
    try:
        data = graph.read_bytes()
    except OSError as problem:
        raise ModelError(f"Cannot read {graph}: {problem.strerror}.") from problem
    check_graph(data, folder.name)
    return files


def check_graph(data: bytes, name: str) -> None:
    """Judges the content of ``saved_model.pb``.

    Raises:
        ModelError: It is damaged, or has an op or object that is not allowed.
    """
    try:
        graphs = list(submessages(memoryview(data), _META_GRAPHS))
        if len(graphs) != 1:
            raise ModelError(f"{name} is a SavedModel with {len(graphs)} graphs, expected one.")
        _Checker(name).meta_graph(graphs[0])
    except (ValueError, UnicodeDecodeError) as problem:
        raise ModelError(f"{name} is a SavedModel whose {GRAPH_NAME} is truncated or damaged.") from problem


def _files(folder: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    for place, names, files in os.walk(folder, followlinks=False):
        inside = Path(place).relative_to(folder)
        for name in sorted([*names, *files]):
            path = inside / name
            status = (folder / path).lstat()
            if stat.S_ISDIR(status.st_mode) and inside == Path() and name in _FOLDERS:
                continue
            if stat.S_ISREG(status.st_mode) and inside == Path() and name in _IGNORED:
                continue
            allowed = path == Path(GRAPH_NAME) or (
                inside == Path("variables") and _VARIABLES.fullmatch(name) is not None
            )
            if not (allowed and stat.S_ISREG(status.st_mode)):
                raise ModelError(
                    f"{folder.name} is a SavedModel with {str(path)[:80]!r}; expected only {GRAPH_NAME} and "
                    "its variables, as plain files.",
                    "Export it again without assets (no vocabularies, no tables).",
                )
            limit = _GRAPH_LIMIT_BYTES if path == Path(GRAPH_NAME) else MODEL_LIMIT_BYTES
            if status.st_size > limit:
                raise ModelError(
                    f"{folder.name} is a SavedModel with {path} of over {limit >> 20} MiB, which is too much."
                )
            found.append(path)
        if len(found) > _MOST_FILES:
            raise ModelError(
                f"{folder.name} is a SavedModel with more than {_MOST_FILES} files of variables."
            )
    return tuple(found)


class _Checker:
    """Reads one graph with its functions and objects."""

    def __init__(self, name: str) -> None:
        self._name = name

    def meta_graph(self, meta: memoryview) -> None:
        if any(True for _ in submessages(meta, _ASSET_FILES)):
            raise self._refusal("files of its own (assets)")
        objects = list(submessages(meta, _OBJECT_GRAPH))
        if not objects:
            raise ModelError(
                f"{self._name} is a SavedModel of TensorFlow 1, which is not read.",
                "Save it again with TensorFlow 2 (tf.saved_model.save) or export it to ONNX.",
            )
        graphs = list(submessages(meta, _GRAPH_DEF))
        functions = self._library(graphs)
        called = {name: self._nodes(nodes, functions.keys()) for name, nodes in functions.items()}
        for graph in graphs:
            # Loading runs nothing of the main graph, so what it calls is not reached by it.
            self._nodes(submessages(graph, _GRAPH_NODES), functions.keys())
        reachable = self._objects(objects, functions.keys())
        pending = list(reachable)
        while pending:
            for name in called.get(pending.pop(), frozenset()) - reachable:
                reachable.add(name)
                pending.append(name)
        for name in reachable:
            ops = {_text(node, _NODE_OP) for node in functions.get(name, [])}
            outside = sorted((ops & _SAVER_OPS) - _NUMERIC_OPS)
            if outside:
                raise self._refusal(f"the op {outside[0]!r} where it would be run")

    def _library(self, graphs: Iterable[memoryview]) -> dict[str, list[memoryview]]:
        """The nodes of each function."""
        functions: dict[str, list[memoryview]] = {}
        for graph in graphs:
            for library in submessages(graph, _GRAPH_LIBRARY):
                for function in submessages(library, _LIBRARY_FUNCTIONS):
                    signature = b"".join(submessages(function, _FUNCTION_SIGNATURE))
                    name = _text(memoryview(signature), _OP_NAME)
                    if name in functions:
                        raise self._refusal(f"two functions {name[:80]!r}")
                    functions[name] = list(submessages(function, _FUNCTION_NODES))
        return functions

    def _nodes(self, nodes: Iterable[memoryview], functions: Iterable[str]) -> frozenset[str]:
        """Judges nodes and returns the functions that they name."""
        known, named = set(functions), set()
        for node in nodes:
            op = _text(node, _NODE_OP)
            if op in known:
                named.add(op)
            elif op not in _NUMERIC_OPS | _CALLS | _SAVER_OPS:
                raise self._refusal(f"the op {op[:80]!r}")
            for attribute in submessages(node, _NODE_ATTRIBUTES):
                for value in submessages(attribute, 2):
                    named |= self._value(value)
        missing = sorted(named - known)
        if missing:
            raise self._refusal(f"a call of {missing[0][:80]!r}, a function that it does not hold")
        return frozenset(named)

    def _value(self, value: memoryview) -> set[str]:
        """Judges an attribute's value and returns the functions that it names."""
        tensors = list(submessages(value, _VALUE_TENSOR))
        functions = list(submessages(value, _VALUE_FUNCTION))
        for several in submessages(value, _VALUE_LIST):
            tensors += submessages(several, _LIST_TENSORS)
            functions += submessages(several, _LIST_FUNCTIONS)
        for tensor in tensors:
            for shape in submessages(tensor, _TENSOR_SHAPE):
                self._shape(shape)
        for shape in submessages(value, _VALUE_SHAPE):
            self._shape(shape)
        return {_text(function, 1) for function in functions}

    def _shape(self, shape: memoryview) -> None:
        sizes = [number for dim in submessages(shape, _SHAPE_DIMS) for number in protobuf_numbers(dim, 1)]
        if math.prod(size for size in sizes if size != -1) > _VALUES_LIMIT or min(sizes, default=0) < -1:
            raise self._refusal(f"a tensor of the shape {tuple(sizes)}")

    def _objects(self, graphs: Iterable[memoryview], functions: Iterable[str]) -> set[str]:
        """Judges the objects that loading makes, and returns the functions that they lead to."""
        known, named = set(functions), set()
        for graph in graphs:
            for entry in submessages(graph, _OBJECT_FUNCTIONS):
                named.add(_text(entry, 1))
            for node in submessages(graph, _OBJECT_NODES):
                fields = dict(protobuf_fields(node))
                for number, what in _REFUSED_OBJECTS.items():
                    if number in fields:
                        raise self._refusal(what)
                for function in submessages(node, _FUNCTION):
                    named |= {bytes(text).decode() for text in submessages(function, 1)}
                named |= {_text(function, 1) for function in submessages(node, _BARE_FUNCTION)}
                for variable in submessages(node, _VARIABLE):
                    for shape in submessages(variable, 2):
                        self._shape(shape)
        # A function that was saved without its body has no name in the library.
        return named & known

    def _refusal(self, what: str) -> ModelError:
        return ModelError(
            f"{self._name} is a SavedModel with {what}, which is not allowed: it reaches outside the model, "
            "or is unknown.",
            "Export the model with plain numeric ops; docs/adr/0034 says which.",
        )


_REFUSED_OBJECTS = {
    _ASSET: "files of its own (assets)",
    _RESOURCE: "a resource, whose initializer runs while it is loaded",
    _REGISTERED_SAVER: "a saver of its own",
    _USER_PROTO: "an object of a registered class",
}


def _text(message: memoryview, field: int) -> str:
    found = ""
    for number, value in protobuf_fields(message):
        if number == field and isinstance(value, memoryview):
            found = bytes(value).decode()
    return found
