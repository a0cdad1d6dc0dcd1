"""The op audit of an ONNX file in QDQ form.

In QDQ form every op is written in float between DequantizeLinear and QuantizeLinear, and the runtime
fuses the three into an integer kernel, where it has one. An op counts as integer when there is such a
kernel, all its float inputs come from DequantizeLinear and all its float outputs go to QuantizeLinear; an
activation right behind an op (Conv, Relu, QuantizeLinear) is fused with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from edgepose.host.quantize.audit import AuditedOp, OpAudit

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# What ONNX Runtime fuses with its Q and DQ nodes, or moves them past (the rules of its QDQ transformer),
# and ConvTranspose, which TensorRT does. Anything else between them runs in float without a word.
_INTEGER_KERNELS = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Concat", "Split", "Where", "Softmax"),
        *("AveragePool", "GlobalAveragePool", "MaxPool", "LeakyRelu", "Relu", "Clip", "Sigmoid", "ArgMax"),
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile", "Slice", "Gather"),
        *("Resize", "DepthToSpace", "SpaceToDepth", "Pad", "GatherElements", "Identity", "Dropout"),
    }
)
# Stored inputs that are parameters, not data: first position that does not count, by op.
_PARAMETERS_FROM = {"Resize": 1, "Clip": 1, "Pad": 1, "Upsample": 1, "Dropout": 1}


def audit_onnx(path: Path) -> OpAudit:
    """Reads every node of the main graph.

    Raises:
        ModelError: The file is damaged.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    reader = _GraphReader(model.graph)
    nodes = list(model.graph.node)
    return OpAudit(
        ops=dict(Counter(node.op_type for node in nodes).most_common()),
        float_ops=tuple(_entry(node) for node in nodes if reader.computes_in_float(node)),
        wide_weights=tuple(_entry(node) for node in nodes if reader.stores_float32_weights(node)),
        integer_only=not reader.float_tensors,
    )


def _entry(node: Any) -> AuditedOp:
    return AuditedOp(node.op_type, node.name or node.output[0], tuple(node.output))


class _GraphReader:
    """Who writes and who reads each tensor, and which are float."""

    def __init__(self, graph: Any) -> None:
        from onnx import TensorProto

        float_types = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
        values = (*graph.value_info, *graph.input, *graph.output)
        self.float_tensors = {v.name for v in values if v.type.tensor_type.elem_type in float_types}
        self._stored = {i.name: i.data_type for i in graph.initializer}
        # Scales are float by definition and say nothing about how an op computes.
        self.float_tensors |= {
            name
            for node in graph.node
            if node.op_type not in _CONVERSIONS
            for name in node.input
            if self._stored.get(name) in float_types
        }
        self._producer = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._float32 = TensorProto.FLOAT

    def computes_in_float(self, node: Any) -> bool:
        """Whether a node works on values that no DequantizeLinear and QuantizeLinear encloses."""
        if node.op_type in _CONVERSIONS or self._casts_stored_weights(node) or node.op_type == "Constant":
            return False
        data = node.input[: _PARAMETERS_FROM.get(node.op_type, len(node.input))]
        inputs = [name for name in data if name in self.float_tensors]
        outputs = [name for name in node.output if name in self.float_tensors]
        if (inputs or outputs) and node.op_type not in _INTEGER_KERNELS:
            return True
        return not (all(map(self._is_dequantized, inputs)) and all(map(self._is_quantized, outputs)))

    def stores_float32_weights(self, node: Any) -> bool:
        """Whether a weighted node reads float32 weights straight from the file."""
        if node.op_type not in _WEIGHTED or len(node.input) < 2:
            return False
        return any(self._stored.get(name) == self._float32 for name in node.input[:2])

    def _casts_stored_weights(self, node: Any) -> bool:
        return node.op_type == "Cast" and node.input[0] in self._stored

    def _is_dequantized(self, name: str) -> bool:
        producer = self._producer.get(name)
        if producer is None:
            return False
        if producer.op_type == "DequantizeLinear":
            return True
        return self._is_fused(producer, name)

    def _is_fused(self, producer: Any, name: str) -> bool:
        """Whether ``name`` only leads from an op to the activation that is fused with it."""
        readers = self._readers[name]
        return (
            len(readers) == 1
            and readers[0].op_type in _FUSED_ACTIVATIONS
            and producer.op_type not in _FUSED_ACTIVATIONS
            and producer.op_type not in _CONVERSIONS
        )

    def _is_quantized(self, name: str) -> bool:
        readers = self._readers[name]
        if not readers:
            return False
        if all(reader.op_type == "QuantizeLinear" for reader in readers):
            return True
        return len(readers) == 1 and readers[0].op_type in _FUSED_ACTIVATIONS
