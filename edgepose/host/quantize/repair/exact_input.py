"""Keeps the pixels on the int8 grid.

An image has 256 levels and so has int8, but a normalized input does not lie on the int8 grid: with one mean
and one standard deviation per channel, one int8 step is 1.07 grey levels of ImageNet's normalization and the
levels fall between the steps. That rounding alone costs TinyPose-256 0.6 AP. So the normalization is undone
in front of the first layer, in float, and folded into that layer's weights; its input then is
``pixel - zero_level``, a whole number, with an int8 step of exactly 1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.tflite_view import op_name, tensor_name
from edgepose.records.model_spec import InputSpec

LEVELS = 255
_FLOAT32, _INT32 = 0, 2
_SAME, _VALID = 0, 1


@dataclass(frozen=True)
class ExactInput:
    """What was put in front of the first layer.

    Attributes:
        ranges: Exact range of each tensor that now holds pixels.
        float_tensors: Outputs of the ops that must stay in float, in order.
    """

    ranges: dict[str, tuple[float, float]]
    float_tensors: tuple[str, ...]


def pixel_range(spec: InputSpec) -> tuple[float, float]:
    """What pixels 0 to 255 become in the model's input, over all channels."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return float(((0 - mean) / std).min()), float(((LEVELS - mean) / std).max())


def lies_on_grid(spec: InputSpec) -> bool:
    """Whether every pixel level is a whole number of int8 steps already: one std, one grey level as mean."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    is_level = mean[0] == round(mean[0]) and 0 <= mean[0] <= LEVELS
    return bool((mean == mean[0]).all() and (std == std[0]).all() and is_level)


def put_pixels_on_grid(graph: Any, spec: InputSpec, *, symmetric: bool = False) -> ExactInput | None:
    """Rewrites the front of an unpacked float TFLite file (``read_tflite``) in place.

    Args:
        graph: The file; its equalization is done.
        spec: How the input was normalized.
        symmetric: Whether activations have zero point 0, so that grey level 128 must be 0.

    Returns:
        None where the first layer is no convolution that alone reads the input: nothing was changed then.
    """
    subgraph = graph.subgraphs[0]
    name = tensor_name(subgraph.tensors[subgraph.inputs[0]])
    if lies_on_grid(spec) and not symmetric:
        return ExactInput({name: pixel_range(spec)}, ())
    front = _Front.find(graph)
    if front is None:
        return None
    mean, std = np.array(spec.mean), np.array(spec.std)
    zero_level = zero_level_of(spec, symmetric=symmetric)
    front.make_padding_explicit()
    pixels = front.insert_affine(std, mean - zero_level)
    front.fold(std, mean - zero_level)
    return ExactInput({pixels: grid_range(zero_level, symmetric=symmetric)}, (*front.padded, pixels))


def zero_level_of(spec: InputSpec, *, symmetric: bool) -> int:
    """The grey level that becomes 0: near the mean colour, which padding is."""
    return (LEVELS + 1) // 2 if symmetric else min(max(round(float(np.mean(spec.mean))), 0), LEVELS)


def grid_range(zero_level: int, *, symmetric: bool) -> tuple[float, float]:
    """The range that gives a step of exactly 1; int8 has one code more below a symmetric one, for -128."""
    if symmetric:
        return -float(LEVELS // 2), float(LEVELS // 2)
    return -float(zero_level), float(LEVELS - zero_level)


class _Front:
    """Input, maybe a PAD, and the convolution behind it."""

    def __init__(self, graph: Any, pad: Any | None, convolution: Any) -> None:
        self._graph, self._subgraph = graph, graph.subgraphs[0]
        self._pads, self._convolution = [] if pad is None else [pad], convolution

    @classmethod
    def find(cls, graph: Any) -> _Front | None:
        subgraph = graph.subgraphs[0]
        readers = _readers(subgraph, subgraph.inputs[0])
        pad = None
        if len(readers) == 1 and op_name(graph, readers[0]) == "PAD":
            pad = readers[0]
            readers = _readers(subgraph, pad.outputs[0])
        if len(readers) != 1 or op_name(graph, readers[0]) != "CONV_2D":
            return None
        front = cls(graph, pad, readers[0])
        fits = len(readers[0].inputs) == 3 and all(front._holds_floats(int(i)) for i in readers[0].inputs[1:])
        return front if fits and front._weights().shape[-1] == 3 else None

    @property
    def padded(self) -> tuple[str, ...]:
        """The outputs of the PADs: the model's own, the one that was added."""
        return tuple(self._name(pad.outputs[0]) for pad in self._pads)

    def make_padding_explicit(self) -> None:
        """Padding with 0 must happen before the change of scale, where 0 still is the mean colour."""
        options = self._convolution.builtinOptions
        if options.padding != _SAME:
            return
        source = self._subgraph.tensors[self._convolution.inputs[0]]
        kernel = self._weights().shape[1:3]
        strides = (options.strideH, options.strideW)
        dilations = (options.dilationHFactor, options.dilationWFactor)
        sizes = [
            _same_padding(int(source.shape[axis + 1]), kernel[axis], strides[axis], dilations[axis])
            for axis in (0, 1)
        ]
        options.padding = _VALID
        if not any(before or after for before, after in sizes):
            return
        widths = np.array([(0, 0), *sizes, (0, 0)], np.int32)
        shape = [int(size) + int(pair.sum()) for size, pair in zip(source.shape, widths, strict=True)]
        stored = self._new_tensor("pixels/paddings", (4, 2), widths, _INT32)
        pad = self._insert("PAD", [self._convolution.inputs[0], stored], "pixels/padded", shape)
        self._pads.append(pad)

    def insert_affine(self, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> str:
        """Multiplies and adds per channel, as a depthwise convolution of one pixel; returns its output."""
        source = self._convolution.inputs[0]
        weights = self._new_tensor("pixels/std", (1, 1, 1, 3), factor.astype(np.float32), _FLOAT32)
        bias = self._new_tensor("pixels/mean", (3,), offset.astype(np.float32), _FLOAT32)
        shape = [int(size) for size in self._subgraph.tensors[source].shape]
        op = self._insert("DEPTHWISE_CONV_2D", [source, weights, bias], "pixels", shape)
        from ai_edge_litert import schema_py_generated as schema

        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW, options.depthMultiplier = _VALID, 1, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        op.builtinOptions, op.builtinOptionsType = options, schema.BuiltinOptions.DepthwiseConv2DOptions
        return self._name(op.outputs[0])

    def fold(self, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        """Takes the change of scale back in the convolution: W (f x + o) / f - W o / f = W x."""
        weights = self._weights().astype(np.float64) / factor
        bias = self._values(self._convolution.inputs[2]).astype(np.float64)
        bias = bias - (weights * offset).sum(axis=(1, 2, 3))
        for index, values in ((1, weights), (2, bias)):
            old = self._subgraph.tensors[self._convolution.inputs[index]]
            name = f"{tensor_name(old)}/pixels"
            shape = tuple(int(size) for size in old.shape)
            self._convolution.inputs[index] = self._new_tensor(
                name, shape, values.astype(np.float32), _FLOAT32
            )

    def _insert(self, kind: str, inputs: list[int], name: str, shape: list[int]) -> Any:
        """Adds an op in front of the convolution, which reads its output from now on."""
        from ai_edge_litert import schema_py_generated as schema

        output = self._new_tensor(name, tuple(shape), None, _FLOAT32)
        op = schema.OperatorT()
        op.opcodeIndex = _operator_code(self._graph, kind)
        op.inputs, op.outputs = inputs, [output]
        if kind == "PAD":
            op.builtinOptions, op.builtinOptionsType = schema.PadOptionsT(), schema.BuiltinOptions.PadOptions
        operators = self._subgraph.operators
        operators.insert(next(i for i, other in enumerate(operators) if other is self._convolution), op)
        self._convolution.inputs[0] = output
        return op

    def _new_tensor(self, name: str, shape: tuple[int, ...], values: Any, kind: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        tensor = copy.copy(self._subgraph.tensors[self._subgraph.inputs[0]])
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), kind
        tensor.shapeSignature = None
        buffer = schema.BufferT()
        if values is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._graph.buffers.append(buffer)
        tensor.buffer = len(self._graph.buffers) - 1
        self._subgraph.tensors.append(tensor)
        return len(self._subgraph.tensors) - 1

    def _holds_floats(self, index: int) -> bool:
        tensor = self._subgraph.tensors[index]
        data = self._graph.buffers[tensor.buffer].data
        return index >= 0 and tensor.type == _FLOAT32 and data is not None and len(data) > 0

    def _weights(self) -> NDArray[np.float32]:
        return self._values(self._convolution.inputs[1])

    def _values(self, index: int) -> NDArray[np.float32]:
        tensor = self._subgraph.tensors[index]
        stored = np.frombuffer(self._graph.buffers[tensor.buffer].data.tobytes(), np.float32)
        return stored.reshape(tuple(tensor.shape))

    def _name(self, index: int) -> str:
        return tensor_name(self._subgraph.tensors[index])


def _readers(subgraph: Any, index: int) -> list[Any]:
    return [op for op in subgraph.operators if index in list(op.inputs)]


def _operator_code(graph: Any, kind: str) -> int:
    """The index of a builtin op's code, added where the file has none yet."""
    from ai_edge_litert import schema_py_generated as schema

    number = getattr(schema.BuiltinOperator, kind)
    for index, code in enumerate(graph.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    graph.operatorCodes.append(code)
    return len(graph.operatorCodes) - 1


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME: as many places as ``ceil(size / stride)``, the odd one behind."""
    places = -(-size // stride)
    total = max((places - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2
