"""Small random ONNX networks, one op family each, for equalization and QDQ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = (1, 4, 8, 6)


class Builder:
    """Collects nodes and random weights."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def store(self, values: NDArray[Any]) -> str:
        """A stored tensor."""
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def normal(self, *shape: int) -> str:
        """Stored random weights whose output channels differ in size."""
        values = self.random.normal(size=shape) * self.random.uniform(
            0.2, 3.0, (shape[0], *[1] * (len(shape) - 1))
        )
        return self.store(values.astype(np.float32))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns its output's name, or a list of several."""
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"n{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, before: int, after: int, *, size: int = 1, group: int = 1) -> str:
        """A convolution with bias that keeps the size."""
        weights = self.normal(after, before // group, size, size)
        pads = [size // 2] * 4
        return str(self.op("Conv", x, weights, self.normal(after), group=group, pads=pads))

    def ints(self, *values: int) -> str:
        """Stored integers."""
        return self.store(np.array(values, np.int64))

    def model(self, output: str) -> onnx.ModelProto:
        """The whole, with a last convolution's output renamed."""
        self.nodes.append(helper.make_node("Identity", [output], ["heatmaps"], "last"))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, SIZE)],
            [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, None)],
            self.stored,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _shuffled(b: Builder, x: str) -> str:
    x = b.op("Reshape", x, b.ints(1, 2, 4, 8, 6))
    return str(b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 1, 3, 4]), b.ints(1, 8, 8, 6)))


def _split(b: Builder, x: str) -> str:
    left, right = b.op("Split", x, b.ints(3, 5), outputs=2, axis=1)
    return str(b.op("Concat", b.op("Relu", right), left, axis=1))


def _sliced(b: Builder, x: str) -> str:
    tail = b.op("Slice", x, b.ints(-1), b.ints(-9), b.ints(1), b.ints(-1))
    return str(b.op("Pad", tail, b.ints(0, 0, 1, 1, 0, 0, 1, 1)))


def _gathered(b: Builder, x: str) -> str:
    return str(b.op("Gather", x, b.ints(7, 0, 3, 3, 5, 1, 2, 6), axis=1))


def _depth(b: Builder, x: str) -> str:
    return str(b.op("SpaceToDepth", b.op("DepthToSpace", x, blocksize=2, mode="CRD"), blocksize=2))


def _summed(b: Builder, x: str) -> str:
    y = b.op("Add", b.conv(x, 8, 8, size=3), b.op("Relu", x))
    return str(b.op("Sub", b.op("Add", y, b.normal(8, 1, 1)), b.store(np.float32(0.4))))


def _scaled(b: Builder, x: str) -> str:
    y = b.op("Mul", x, b.normal(1, 8, 1, 1))
    return str(b.op("Mul", b.op("Div", y, b.store(np.float32(3.0))), b.op("Sigmoid", b.conv(x, 8, 8))))


def _leaky(b: Builder, x: str) -> str:
    return str(b.op("PRelu", b.op("LeakyRelu", x, alpha=0.1), b.normal(8, 1, 1)))


def _clipped(b: Builder, x: str) -> str:
    return str(b.op("Clip", b.conv(x, 8, 8), b.store(np.float32(0)), b.store(np.float32(6))))


def _pooled(b: Builder, x: str) -> str:
    y = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("AveragePool", y, kernel_shape=[2, 1])
    scales = b.store(np.array([1, 1, 2, 2], np.float32))
    return str(b.op("Resize", y, "", scales, mode="nearest"))


def _attention(b: Builder, x: str) -> str:
    gate = b.op("Sigmoid", b.conv(b.op("GlobalAveragePool", x), 8, 8))
    return str(b.op("Mul", x, gate))


def _transposed(b: Builder, x: str) -> str:
    y = b.op("ConvTranspose", x, b.normal(8, 6, 2, 2), b.normal(6), strides=[2, 2])
    y = b.op("ConvTranspose", b.op("Relu", y), b.normal(6, 1, 2, 2), group=6, strides=[2, 2])
    return b.conv(y, 6, 8)


def _dense(b: Builder, x: str) -> str:
    flat = b.op("Flatten", b.op("GlobalAveragePool", x))
    y = b.op("Relu", b.op("Gemm", flat, b.normal(6, 8), b.normal(6), transB=1))
    y = b.op("Add", b.op("MatMul", y, b.normal(6, 8)), b.normal(8))
    return str(b.op("Unsqueeze", y, b.ints(2, 3)))


def _tokens(b: Builder, x: str) -> str:
    rows = b.op("Reshape", x, b.ints(1, 8, 48))
    y = b.op("MatMul", b.normal(8, 8), b.op("MatMul", rows, b.normal(48, 48)))
    return str(b.op("Reshape", y, b.ints(1, 8, 8, 6)))


def _reduced(b: Builder, x: str) -> str:
    y = b.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    return str(b.op("Squeeze", b.op("Unsqueeze", y, b.ints(2, 3, 4)), b.ints(4)))


def _batch_normalized(b: Builder, x: str) -> str:
    """After a sum, where no convolution can take it in."""
    y = b.op("Add", x, b.op("Relu", x))
    variance = b.store(b.random.uniform(0.5, 2.0, 8).astype(np.float32))
    return str(b.op("BatchNormalization", y, b.normal(8), b.normal(8), b.normal(8), variance, epsilon=1e-3))


def _normalized(b: Builder, x: str) -> str:
    return str(b.op("Softmax", b.op("HardSigmoid", x), axis=1))


FAMILIES: dict[str, Callable[[Builder, str], str]] = {
    "shuffle": _shuffled,
    "split": _split,
    "slice": _sliced,
    "gather": _gathered,
    "depth": _depth,
    "sum": _summed,
    "scale": _scaled,
    "leaky": _leaky,
    "clip": _clipped,
    "pool": _pooled,
    "attention": _attention,
    "transposed": _transposed,
    "dense": _dense,
    "tokens": _tokens,
    "reduce": _reduced,
    "normalized": _normalized,
}
# Only after preparation is there anything in it for the writers.
UNPREPARED: dict[str, Callable[[Builder, str], str]] = {
    "batch_normalization": _batch_normalized,
    "mean": lambda b, x: str(b.op("ReduceMean", x, axes=[-1, -2])),
}


def random_network(family: str, seed: int) -> onnx.ModelProto:
    """Depthwise and dense convolutions around one op family.

    Args:
        family: Key of ``FAMILIES`` or ``UNPREPARED``.
        seed: Of the weights.
    """
    b = Builder(seed)
    x = b.op("Relu", b.conv("image", 4, 8, size=3))
    x = b.conv(x, 8, 8, size=3, group=8)
    x = (FAMILIES | UNPREPARED)[family](b, x)
    x = b.op("Relu", b.conv(x, 8, 8, size=3, group=2))
    return b.model(b.conv(x, 8, 5))


def random_inputs(count: int, seed: int) -> list[NDArray[np.float32]]:
    """Inputs of a random network."""
    random = np.random.default_rng(seed)
    return [random.normal(size=SIZE).astype(np.float32) for _ in range(count)]
