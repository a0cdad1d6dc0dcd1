"""Small random TFLite networks written op by op, one op family each, for repair and int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

SIZE = (1, 8, 6, 4)
SAME, VALID = 0, 1
RELU, RELU6 = 1, 3
Name = int


class Builder:
    """Collects ops and random weights.

    Args:
        seed: Of the weights.
        size: Shape of the input ``image``, NHWC.
    """

    def __init__(self, seed: int, size: Sequence[int] = SIZE) -> None:
        self.random = np.random.default_rng(seed)
        self._model, self._subgraph = schema.ModelT(), schema.SubGraphT()
        self._model.version, self._model.buffers, self._model.operatorCodes = 3, [schema.BufferT()], []
        self._subgraph.tensors, self._subgraph.operators = [], []
        self.image = self._tensor("image", size)

    def _tensor(
        self, name: str, shape: Sequence[int], data: NDArray[Any] | None = None, *, integer: bool = False
    ) -> Name:
        entry = schema.TensorT()
        entry.name, entry.shape = name.encode(), np.array(shape, np.int32)
        entry.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        entry.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            entry.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._subgraph.tensors.append(entry)
        return len(self._subgraph.tensors) - 1

    def store(self, values: Any) -> Name:
        """A stored tensor: float32, or int32 for whole numbers."""
        array = np.asarray(values)
        integer = array.dtype.kind == "i"
        array = array.astype(np.int32 if integer else np.float32)
        return self._tensor(f"c{len(self._subgraph.tensors)}", array.shape, array, integer=integer)

    def normal(self, *shape: int, rows: int = 0) -> Name:
        """Stored random weights whose output channels (axis ``rows``) differ in size."""
        sizes = np.ones(len(shape), int)
        sizes[rows] = shape[rows]
        values = self.random.normal(size=shape) * self.random.uniform(0.2, 3.0, sizes)
        return self.store(values.astype(np.float32))

    def op(self, kind: str, *inputs: Name, outputs: int = 1, options: str = "", **settings: Any) -> Any:
        """Adds an op; returns its output, or a list of several. ``options`` names their table."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs = len(self._model.operatorCodes), list(inputs)
        self._model.operatorCodes.append(code)
        number = len(self._subgraph.operators)
        op.outputs = [self._tensor(f"t{number}_{kind.lower()}_{i}", ()) for i in range(outputs)]
        if options:
            op.builtinOptions = getattr(schema, f"{options}OptionsT")()
            op.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            for name, value in settings.items():
                assert hasattr(op.builtinOptions, name), name
                setattr(op.builtinOptions, name, value)
        self._subgraph.operators.append(op)
        return op.outputs[0] if outputs == 1 else list(op.outputs)

    def conv(
        self, x: Name, before: int, after: int, *, size: int = 1, group: int = 1, **settings: Any
    ) -> Name:
        """A convolution with bias that keeps the size; ``weights`` may be given."""
        weights = settings.pop("weights", None)
        stored = self.normal(after, size, size, before // group) if weights is None else self.store(weights)
        return int(self.op("CONV_2D", x, stored, self.normal(after), **conv_settings("Conv2D", settings)))

    def depthwise(self, x: Name, channels: int, *, size: int = 3, **settings: Any) -> Name:
        """A depthwise convolution with bias that keeps the size."""
        weights = settings.pop("weights", None)
        stored = self.normal(1, size, size, channels, rows=3) if weights is None else self.store(weights)
        settings = conv_settings("DepthwiseConv2D", settings) | {"depthMultiplier": 1}
        return int(self.op("DEPTHWISE_CONV_2D", x, stored, self.normal(channels), **settings))

    def add(self, left: Name, right: Name, kind: str = "ADD", activation: int = 0) -> Name:
        """ADD, SUB, MUL or DIV."""
        options = kind.capitalize()
        return int(self.op(kind, left, right, options=options, fusedActivationFunction=activation))

    def reshape(self, x: Name, *shape: int) -> Name:
        """To a stored shape."""
        return int(
            self.op("RESHAPE", x, self.store(np.array(shape)), options="Reshape", newShape=list(shape))
        )

    def pool(self, kind: str, x: Name, size: tuple[int, int]) -> Name:
        """MAX_POOL_2D or AVERAGE_POOL_2D without overlap."""
        settings = {"filterHeight": size[0], "filterWidth": size[1], "strideH": size[0], "strideW": size[1]}
        return int(self.op(kind, x, options="Pool2D", padding=VALID, **settings))

    def model(self, *outputs: Name) -> bytes:
        """The file; the outputs are called ``heatmaps``, ``heatmaps1`` ..."""
        for number, index in enumerate(outputs):
            self._subgraph.tensors[index].name = f"heatmaps{number or ''}".encode()
        self._subgraph.inputs, self._subgraph.outputs = [self.image], list(outputs)
        self._model.subgraphs, self._model.signatureDefs = [self._subgraph], [self._signature(outputs)]
        self._write_shapes()
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def _write_shapes(self) -> None:
        """The runtime works the shapes out; a converter would have written them."""
        data = bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))
        for details in runner(data).get_tensor_details():
            if details["index"] < len(self._subgraph.tensors):
                tensor = self._subgraph.tensors[details["index"]]
                tensor.shape = np.array(details["shape"], np.int32)

    def _signature(self, outputs: Sequence[Name]) -> Any:
        def maps(indices: Sequence[Name]) -> list[Any]:
            entries = []
            for index in indices:
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = self._subgraph.tensors[index].name, index
                entries.append(entry)
            return entries

        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = maps([self.image]), maps(outputs)
        return signature


def conv_settings(options: str, given: dict[str, Any]) -> dict[str, Any]:
    """Options of a convolution; by default SAME, stride 1, no activation."""
    plain = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return {"options": options, **plain, **given}


def runner(model: bytes) -> Any:
    """An interpreter with plain kernels, memory planned."""
    found = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    found.allocate_tensors()
    return found


def run(model: bytes, values: NDArray[np.float32], tensor: str = "heatmaps") -> NDArray[Any]:
    """A tensor of a run, as it is stored."""
    interpreter = runner(model)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    index = {entry["name"]: entry["index"] for entry in interpreter.get_tensor_details()}[tensor]
    return np.asarray(interpreter.get_tensor(index))


def _shuffled(b: Builder, x: Name) -> Name:
    x = b.reshape(x, 1, 8, 6, 2, 4)
    x = b.op("TRANSPOSE", x, b.store(np.array([0, 1, 2, 4, 3])), options="Transpose")
    return b.reshape(x, 1, 8, 6, 8)


def _split(b: Builder, x: Name) -> Name:
    left, right = b.op("SPLIT", b.store(np.int32(3)), x, outputs=2, options="Split", numSplits=2)
    parts = b.op("RELU", right), left
    return int(b.op("CONCATENATION", *parts, options="Concatenation", axis=3))


def _split_unevenly(b: Builder, x: Name) -> Name:
    stored = b.store(np.array([3, 5])), b.store(np.int32(3))
    left, right = b.op("SPLIT_V", x, *stored, outputs=2, options="SplitV", numSplits=2)
    return int(b.op("CONCATENATION", right, left, options="Concatenation", axis=-1))


def _sliced(b: Builder, x: Name) -> Name:
    stored = [b.store(np.array(v)) for v in ([0, 0, 0, 0], [0, 0, 0, 8], [1, 2, 1, 1])]
    masks = {"beginMask": 0b0011, "endMask": 0b0111}
    x = b.op("STRIDED_SLICE", x, *stored, options="StridedSlice", **masks)
    x = b.op("SLICE", x, b.store(np.array([0, 1, 0, 2])), b.store(np.array([1, -1, 3, -1])), options="Slice")
    widths = b.store(np.array([[0, 0], [1, 0], [0, 3], [2, 0]]))
    return int(b.op("PAD", x, widths, options="Pad"))


def _padded_shortcut(b: Builder, x: Name) -> Name:
    """More channels by zeros, as in the shortcuts of He et al. (2015)."""
    wide = b.op("PAD", x, b.store(np.array([[0, 0], [0, 0], [0, 0], [0, 4]])), options="Pad")
    y = b.add(b.op("RELU", wide), b.normal(12))
    return b.conv(b.add(wide, b.add(b.conv(x, 8, 12), y)), 12, 8)


def _gathered(b: Builder, x: Name) -> Name:
    return int(b.op("GATHER", x, b.store(np.array([7, 0, 3, 3, 5, 1, 2, 6])), options="Gather", axis=3))


def _gathered_by_result(b: Builder, x: Name) -> Name:
    """Indices that the network computes: nothing is known of where a channel goes."""
    flat = b.op("MEAN", x, b.store(np.array([1, 2])), options="Reducer", keepDims=False)
    places = b.op("CAST", b.op("LOGISTIC", b.reshape(flat, 8)), options="Cast", inDataType=0, outDataType=2)
    b._subgraph.tensors[places].type = schema.TensorType.INT32
    return int(b.op("GATHER", x, places, options="Gather", axis=3))


def _depth(b: Builder, x: Name) -> Name:
    x = b.op("DEPTH_TO_SPACE", x, options="DepthToSpace", blockSize=2)
    return int(b.op("SPACE_TO_DEPTH", x, options="SpaceToDepth", blockSize=2))


def _residual(b: Builder, x: Name) -> Name:
    y = b.add(b.conv(x, 8, 8, size=3), int(b.op("RELU", x)), activation=RELU)
    return b.add(b.add(b.normal(8), y), b.normal(1, 1, 1, 8, rows=3), "SUB")


def _subtracted_from(b: Builder, x: Name) -> Name:
    return b.add(b.normal(8), x, "SUB")


def _scaled(b: Builder, x: Name) -> Name:
    return b.add(b.add(x, b.normal(8), "MUL"), b.store(np.full(1, 3.0)), "DIV")


def _reciprocal(b: Builder, x: Name) -> Name:
    away = b.add(b.op("LOGISTIC", x), b.store(np.full(8, 2.0, np.float32)))
    return b.add(b.normal(8), b.conv(away, 8, 8, weights=np.eye(8).reshape(8, 1, 1, 8)), "DIV")


def _leaky(b: Builder, x: Name) -> Name:
    x = int(b.op("PRELU", x, b.normal(1, 1, 8, rows=2)))
    return int(b.op("LEAKY_RELU", x, options="LeakyRelu", alpha=0.1))


def _clipped(b: Builder, x: Name) -> Name:
    x = b.conv(x, 8, 8, fusedActivationFunction=RELU6)
    return int(b.op("RELU6", b.conv(x, 8, 8)))


def _hard_swish(b: Builder, x: Name) -> Name:
    return int(b.op("HARD_SWISH", b.conv(x, 8, 8), options="HardSwish"))


def _pooled(b: Builder, x: Name) -> Name:
    x = b.pool("AVERAGE_POOL_2D", b.pool("MAX_POOL_2D", x, (2, 1)), (2, 2))
    near = b.op("RESIZE_NEAREST_NEIGHBOR", x, b.store(np.array([4, 6])), options="ResizeNearestNeighbor")
    large = b.store(np.array([8, 6]))
    return int(b.op("RESIZE_BILINEAR", near, large, options="ResizeBilinear", halfPixelCenters=True))


def _gate(b: Builder, x: Name) -> Name:
    mean = b.op("MEAN", x, b.store(np.array([1, 2])), options="Reducer", keepDims=True)
    hidden = b.conv(mean, 8, 6, fusedActivationFunction=RELU)
    return b.add(x, int(b.op("LOGISTIC", b.conv(hidden, 6, 8))), "MUL")


def _transposed(b: Builder, x: Name) -> Name:
    shape, weights = b.store(np.array([1, 16, 12, 6])), b.normal(6, 2, 2, 8)
    settings = {"padding": SAME, "strideH": 2, "strideW": 2}
    x = b.op("TRANSPOSE_CONV", shape, weights, x, b.normal(6), options="TransposeConv", **settings)
    return b.conv(int(b.op("RELU", x)), 6, 8, strideH=2, strideW=2)


def _dense(b: Builder, x: Name) -> Name:
    x = b.reshape(b.pool("MAX_POOL_2D", x, (2, 2)), 1, 96)
    settings: dict[str, Any] = {"options": "FullyConnected", "fusedActivationFunction": RELU}
    x = b.op("FULLY_CONNECTED", x, b.normal(12, 96), b.normal(12), **settings)
    x = b.op("FULLY_CONNECTED", x, b.normal(8, 12), -1, options="FullyConnected")
    return b.reshape(x, 1, 1, 1, 8)


def _dense_of_map(b: Builder, x: Name) -> Name:
    """TFLite's fully connected layer takes a map as it is and flattens it itself."""
    x = b.pool("MAX_POOL_2D", x, (4, 3))
    return b.reshape(
        b.op("FULLY_CONNECTED", x, b.normal(8, 32), b.normal(8), options="FullyConnected"), 1, 1, 1, 8
    )


def _grouped(b: Builder, x: Name) -> Name:
    return b.conv(x, 8, 8, size=3, group=4)


def _ends_in_softmax(b: Builder, x: Name) -> Name:
    return int(b.op("SOFTMAX", x, options="Softmax", beta=1.0))


FAMILIES: dict[str, Callable[[Builder, Name], Name]] = {
    "shuffle": _shuffled,
    "split": _split,
    "uneven_split": _split_unevenly,
    "slice": _sliced,
    "padded_shortcut": _padded_shortcut,
    "gather": _gathered,
    "computed_gather": _gathered_by_result,
    "depth": _depth,
    "residual": _residual,
    "subtracted_from": _subtracted_from,
    "scale": _scaled,
    "reciprocal": _reciprocal,
    "leaky": _leaky,
    "clip": _clipped,
    "hard_swish": _hard_swish,
    "pool": _pooled,
    "gate": _gate,
    "transposed": _transposed,
    "dense": _dense,
    "dense_of_map": _dense_of_map,
    "grouped": _grouped,
    "softmax": _ends_in_softmax,
}


def random_network(family: str, seed: int) -> bytes:
    """Depthwise and dense convolutions around one op family.

    Args:
        family: Key of ``FAMILIES``.
        seed: Of the weights.
    """
    b = Builder(seed)
    x = b.conv(b.image, 4, 8, size=3, fusedActivationFunction=RELU)
    x = b.depthwise(x, 8)
    x = FAMILIES[family](b, x)
    x = b.conv(x, 8, 8, size=3, group=2, fusedActivationFunction=RELU)
    return b.model(b.conv(x, 8, 5))


def random_inputs(count: int, seed: int, size: Sequence[int] = SIZE) -> list[NDArray[np.float32]]:
    """Inputs of a random network."""
    random = np.random.default_rng(seed)
    return [random.normal(size=size).astype(np.float32) for _ in range(count)]
