"""Writes an int8 ONNX model in QDQ form from a float one and given ranges.

Weights are stored as int8 with a DequantizeLinear, one scale for each output channel. With symmetric
activations the file is made for TensorRT: int8 around 0, and float biases, because its parser refuses
DequantizeLinear on int32 (microsoft/onnxruntime issue 14229, onnx/onnx-tensorrt issue 850). Otherwise it is
made for ONNX Runtime's CPU kernels: uint8, and int32 biases, without which they do not fuse.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.models.onnx_view import OnnxGraph, attribute
from edgepose.host.models.operators import WEIGHTED, data_positions
from edgepose.host.quantize.qdq.placement import FloatOp, Placement, place_qdq
from edgepose.records.lineage import QuantizationRecipe

_SIGNED_STEPS, _UNSIGNED_STEPS = 127.0, 255.0
# A bias in steps of input times weight leaves half of int32 for the sum of products.
_LARGEST_BIAS = 2.0**30
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Scale:
    """How integers stand for real values: ``real = (integer - zero_point) * scale``.

    Attributes:
        scale: float32 scalar, or (C,) with one for each channel.
        zero_point: The same shape; its type is that of the integers.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]

    def quantize(self, values: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """Rounds half to even and saturates.

        Args:
            values: Real values.
            axis: Where the channels are, if the scale has several.
        """
        along = [-1 if i == axis % max(values.ndim, 1) else 1 for i in range(values.ndim)]
        scale, zero = (
            a.reshape(along) if a.ndim else a for a in (self.scale.astype(np.float64), self.zero_point)
        )
        limits = np.iinfo(self.zero_point.dtype)
        steps = np.round(values.astype(np.float64) / scale) + zero
        return np.asarray(np.clip(steps, limits.min, limits.max).astype(self.zero_point.dtype))


def activation_scale(low: float, high: float, *, symmetric: bool) -> Scale:
    """The scale of an activation tensor, int8 around zero point 0 (symmetric) or uint8; 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        scale = np.float32(max(-low, high) / _SIGNED_STEPS)
        return Scale(np.array(scale if scale > 0 else 1.0, np.float32), np.array(0, np.int8))
    scale = np.float32((high - low) / _UNSIGNED_STEPS)
    if not scale > 0:
        return Scale(np.array(1.0, np.float32), np.array(0, np.uint8))
    zero = np.clip(np.round(-low / float(scale)), 0, _UNSIGNED_STEPS)
    return Scale(np.array(scale, np.float32), np.array(zero, np.uint8))


def weight_scale(
    weights: NDArray[Any], axis: int | None, bias: NDArray[Any] | None = None, input_scale: float = 1.0
) -> Scale:
    """The int8 scale of stored weights, zero point 0.

    Args:
        weights: The weights.
        axis: Axis of the output channels; None for one scale in all.
        bias: (C,) A bias that must fit into int32 in steps of ``input_scale`` times this scale, or None.
        input_scale: Scale of the layer's input.
    """
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    largest = np.abs(weights.astype(np.float64)).max(axis=others)
    scale = largest / _SIGNED_STEPS
    if bias is not None:
        least = np.abs(bias.astype(np.float64)) / (input_scale * _LARGEST_BIAS)
        scale = np.maximum(scale, least if axis is not None else least.max())
    scale = np.where(scale > _TINY, scale, 1.0).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int8))


def bias_scale(input_scale: Scale, weights: Scale) -> Scale:
    """The int32 scale of a bias, as integer kernels add it: input scale times weight scale."""
    scale = (input_scale.scale * weights.scale).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32))


Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class QdqResult:
    """What was written."""

    model: bytes
    integer_ops: int
    float_ops: tuple[FloatOp, ...]


def placement_for(model: Any, recipe: QuantizationRecipe) -> Placement:
    """Where QDQ stands in a prepared model under a recipe."""
    excluded = [entry.name for entry in recipe.excluded]
    return place_qdq(OnnxGraph(model), excluded, fuse_sums=recipe.symmetric_activations)


def quantize_with_ranges(model: Any, recipe: QuantizationRecipe, ranges: Ranges) -> QdqResult:
    """Puts Q and DQ nodes into a model.

    Args:
        model: The prepared float ``ModelProto``; it is not changed.
        recipe: A static recipe; its symmetry, granularity and exclusions count.
        ranges: Least and greatest value of the float tensors, by name.

    Returns:
        The same bytes for the same arguments. Inputs and outputs keep their names and stay float.

    Raises:
        ModelError: A tensor that must be rounded has no range, or one that is not finite.
    """
    writer = _Writer(copy.deepcopy(model), recipe, ranges)
    writer.run()
    placement = writer.placement
    written = bytes(writer.model.SerializeToString(deterministic=True))
    return QdqResult(written, len(placement.integer), placement.float_ops)


class _Writer:
    """One walk along the nodes, writing them anew with their conversions."""

    def __init__(self, model: Any, recipe: QuantizationRecipe, ranges: Ranges) -> None:
        self.model = model
        self._recipe = recipe
        self._graph = OnnxGraph(model)
        self.placement = placement_for(model, recipe)
        self._rounded = frozenset(self.placement.rounded)
        self._scales = self._activation_scales(ranges)
        self._nodes: list[Any] = []
        self._added: dict[str, Any] = {}
        # What an integer node reads instead of a tensor, and what a float node does.
        self._dequantized: dict[str, str] = {}
        self._replaced: dict[str, str] = {}

    def run(self) -> None:
        """Rewrites the model."""
        for name in self._graph.inputs:
            if name in self._rounded:
                self._convert(name, written_as=name)
        for node in list(self.model.graph.node):
            self._write(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self._nodes)
        self.model.graph.initializer.extend(self._added.values())
        self._drop_unread()

    # --- scales ---------------------------------------------------------------------------------------

    def _activation_scales(self, ranges: Ranges) -> dict[str, Scale]:
        """The scale of each group of tensors: wide enough for all of them."""
        widest: dict[str, tuple[float, float]] = {}
        for name in self.placement.rounded:
            if name not in ranges:
                raise ModelError(
                    f"Tensor '{name}' is to be rounded and has no range.",
                    "Collect ranges on the prepared model and on at least one picture.",
                )
            self._widen(widest, name, *ranges[name])
        for name in self.placement.scale_of:
            if self._graph.is_stored(name):
                values = self._graph.stored(name)
                self._widen(widest, name, float(values.min()), float(values.max()))
        symmetric = self._recipe.symmetric_activations
        return {
            name: activation_scale(low, high, symmetric=symmetric) for name, (low, high) in widest.items()
        }

    def _widen(self, widest: dict[str, tuple[float, float]], name: str, low: float, high: float) -> None:
        if not np.isfinite([low, high]).all():
            raise ModelError(f"Tensor '{name}' reaches from {low} to {high}; expected finite values.")
        root = self.placement.scale_of[name]
        known = widest.get(root, (low, high))
        widest[root] = (min(low, known[0]), max(high, known[1]))

    def _scale_of(self, name: str) -> Scale:
        return self._scales[self.placement.scale_of[name]]

    # --- nodes ----------------------------------------------------------------------------------------

    def _write(self, node: Any) -> None:
        if node.output[0] not in self.placement.integer:
            for position, name in enumerate(node.input):
                node.input[position] = self._replaced.get(name, name)
            self._nodes.append(node)
            for name in node.output:
                if name in self._rounded:
                    self._convert(name, written_as=name)
            return
        self._feed(node)
        written = {}
        for position, name in enumerate(node.output):
            if name in self._rounded and name in self._graph.outputs:
                node.output[position] = f"{name}_QuantizeLinear_Input"
            written[name] = node.output[position]
        self._nodes.append(node)
        for name, written_as in written.items():
            if name in self._rounded:
                self._convert(name, written_as=written_as)
                self._replaced[name] = self._dequantized[name]

    def _feed(self, node: Any) -> None:
        """Gives an integer node its dequantized operands."""
        inputs = list(node.input)
        positions = data_positions(node.op_type, len(inputs))
        for position in positions:
            name = inputs[position]
            if name and not self._graph.is_stored(name):
                node.input[position] = self._dequantized.get(name, name)
        if node.op_type in WEIGHTED and any(self._graph.is_stored(name) for name in inputs[:2]):
            self._feed_weights(node, inputs)
            return
        for position in positions:
            if inputs[position] and self._graph.is_stored(inputs[position]):
                node.input[position] = self._constant(inputs[position])

    def _feed_weights(self, node: Any, inputs: list[str]) -> None:
        left = self._graph.is_stored(inputs[0])
        weights = self._graph.stored(inputs[0 if left else 1])
        input_scale = self._scale_of(inputs[1 if left else 0])
        axis = _channel_axis(node, weights) if self._recipe.per_channel and not left else None
        bias = self._bias(node, inputs, weights)
        scale = weight_scale(weights, axis, bias, float(input_scale.scale))
        name = f"{inputs[0 if left else 1]}_of_{node.output[0]}"
        node.input[0 if left else 1] = self._stored(name, weights, scale, axis)
        if bias is not None:
            # With one scale for all weights there is one for the whole bias.
            bias_axis = 0 if scale.scale.ndim else None
            of_bias = bias_scale(input_scale, scale)
            node.input[2] = self._stored(f"{inputs[2]}_of_{node.output[0]}", bias, of_bias, bias_axis)

    def _bias(self, node: Any, inputs: list[str], weights: NDArray[Any]) -> NDArray[Any] | None:
        """The bias that goes into int32, with one entry for each channel; None where there is none."""
        given = len(inputs) > 2 and inputs[2] and node.op_type != "MatMul"
        if self._recipe.symmetric_activations or not given:
            return None
        channels = weights.shape[_channel_axis(node, weights) or 0]
        if node.op_type == "ConvTranspose":
            channels *= int(attribute(node, "group", 1))
        return np.broadcast_to(self._graph.stored(inputs[2]).reshape(-1), (channels,))

    # --- conversions ----------------------------------------------------------------------------------

    def _convert(self, name: str, written_as: str) -> None:
        """Q and DQ behind a tensor."""
        operands = self._operands(self.placement.scale_of[name], self._scale_of(name))
        quantized = f"{name}_QuantizeLinear_Output"
        # An output of the model is what its DQ writes; everything else gets a name of its own.
        is_output = written_as != name
        dequantized = name if is_output else f"{name}_DequantizeLinear_Output"
        self._node("QuantizeLinear", name, [written_as, *operands], quantized)
        self._node("DequantizeLinear", name, [quantized, *operands], dequantized)
        self._dequantized[name] = dequantized

    def _constant(self, name: str) -> str:
        """A stored operand of an op without weights, in the activations' own type."""
        values = self._graph.stored(name)
        if name in self.placement.scale_of:
            scale = self._scale_of(name)
        else:
            symmetric = self._recipe.symmetric_activations
            scale = activation_scale(float(values.min()), float(values.max()), symmetric=symmetric)
        return self._stored(name, values, scale, None)

    def _stored(self, name: str, values: NDArray[Any], scale: Scale, axis: int | None) -> str:
        """Stored integers and the DQ that reads them."""
        output = f"{name}_DequantizeLinear_Output"
        if f"{name}_quantized" not in self._added:
            operands = self._operands(name, scale)
            self._store(f"{name}_quantized", scale.quantize(values, axis or 0))
            self._node("DequantizeLinear", name, [f"{name}_quantized", *operands], output, axis)
        return output

    def _operands(self, name: str, scale: Scale) -> list[str]:
        self._store(f"{name}_scale", scale.scale)
        self._store(f"{name}_zero_point", scale.zero_point)
        return [f"{name}_scale", f"{name}_zero_point"]

    def _store(self, name: str, values: NDArray[Any]) -> None:
        from onnx import numpy_helper

        if name not in self._added:
            self._added[name] = numpy_helper.from_array(
                np.ascontiguousarray(values).reshape(values.shape), name
            )

    def _node(self, op: str, tensor: str, inputs: list[str], output: str, axis: int | None = None) -> None:
        from onnx import helper

        attributes = {} if axis is None else {"axis": axis}
        self._nodes.append(helper.make_node(op, inputs, [output], f"{tensor}_{op}", **attributes))

    def _drop_unread(self) -> None:
        """Float weights that nothing reads any more."""
        graph = self.model.graph
        after = OnnxGraph(self.model)
        kept = [e for e in graph.initializer if after.readers[e.name] or e.name in after.outputs]
        nodes = [n for n in graph.node if n.op_type != "Constant" or after.readers[n.output[0]]]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend(kept)
        graph.node.extend(nodes)


def _channel_axis(node: Any, weights: NDArray[Any]) -> int | None:
    """Axis of the output channels in stored weights; None where one scale must do."""
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1 if int(attribute(node, "group", 1)) == 1 else None
        case "Gemm":
            return 0 if attribute(node, "transB", 0) else 1
        case _:
            return None if weights.ndim < 2 else weights.ndim - 1
