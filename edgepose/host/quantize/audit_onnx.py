"""The op audit of an ONNX file in QDQ form.

In QDQ form every op is written in float between DequantizeLinear and QuantizeLinear, and the runtime
fuses the three into an integer kernel, where it has one. An op counts as integer when there is such a
kernel, all its float inputs come from DequantizeLinear and all its float outputs go to QuantizeLinear; an
activation right behind an op (Conv, Relu, QuantizeLinear) is fused with it. In a file of signed activations,
which is made for TensorRT, so is the addition behind a convolution. Stored biases may be float: they are
added to the sum of products.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from edgepose.host.quantize.audit import AuditedOp, OpAudit
from edgepose.host.quantize.qdq.integer_ops import (
    CONVERSIONS,
    FUSED_ACTIVATIONS,
    INTEGER_KERNELS,
    WEIGHTED,
    data_positions,
)

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


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
        float_ops=tuple(reader.unit(node) for node in nodes if reader.computes_in_float(node)),
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
            if node.op_type not in CONVERSIONS
            for name in node.input
            if self._stored.get(name) in float_types
        }
        self._producer = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._float32, self._int8 = TensorProto.FLOAT, TensorProto.INT8

    def computes_in_float(self, node: Any) -> bool:
        """Whether a node works on values that no DequantizeLinear and QuantizeLinear encloses."""
        if node.op_type in CONVERSIONS or self._casts_stored_weights(node) or node.op_type == "Constant":
            return False
        head = self._fused_head(node)
        if head is not None:
            return self.computes_in_float(head)
        data = [node.input[i] for i in data_positions(node.op_type, len(node.input))]
        if node.op_type in WEIGHTED:
            data = [*data[:2], *(name for name in data[2:] if name not in self._stored)]
        inputs = [name for name in data if name in self.float_tensors]
        outputs = [name for name in node.output if name in self.float_tensors]
        if (inputs or outputs) and node.op_type not in INTEGER_KERNELS:
            return True
        if not all(map(self._is_dequantized, inputs)):
            return True
        # TensorRT's int8 convolutions may write float; files with signed activations are made for it.
        if node.op_type in WEIGHTED and any(map(self._is_signed, inputs)):
            return False
        return not all(map(self._is_quantized, outputs))

    def unit(self, node: Any) -> AuditedOp:
        """What is said about a float node; an activation that is fused with it goes by its names too."""
        names = list(node.output)
        before_it = [self._producer[name] for name in node.input[:1] if name in self._producer]
        for one in (*before_it, *self._readers[node.output[0]]):
            before, after = (one, node) if one in before_it else (node, one)
            if after.op_type in FUSED_ACTIVATIONS and self._is_fused(before, before.output[0]):
                names += [name for name in (one.name, *one.output) if name]
        return AuditedOp(node.op_type, node.name or node.output[0], tuple(names))

    def stores_float32_weights(self, node: Any) -> bool:
        """Whether a weighted node reads float32 weights straight from the file."""
        if node.op_type not in WEIGHTED or len(node.input) < 2:
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

    def _is_signed(self, name: str) -> bool:
        """Whether a computed tensor comes from int8, as TensorRT wants it, not from uint8."""
        producer = self._producer.get(name)
        if producer is None or producer.op_type != "DequantizeLinear" or producer.input[0] in self._stored:
            return False
        return self._stored.get(producer.input[2]) == self._int8

    def _is_fused(self, producer: Any, name: str) -> bool:
        """Whether ``name`` only leads from an op to the activation or addition that is fused with it."""
        readers = self._readers[name]
        if len(readers) != 1 or producer.op_type in CONVERSIONS:
            return False
        if readers[0].op_type in FUSED_ACTIVATIONS:
            return producer.op_type not in FUSED_ACTIVATIONS
        return self._is_fused_sum(producer, readers[0], name)

    def _fused_head(self, node: Any) -> Any | None:
        """The op that an activation is one with."""
        head = self._producer.get(node.input[0]) if node.op_type in FUSED_ACTIVATIONS else None
        return head if head is not None and self._is_fused(head, node.input[0]) else None

    def _is_fused_sum(self, producer: Any, reader: Any, name: str) -> bool:
        """Whether TensorRT adds ``name`` to the other, dequantized summand within the convolution."""
        if reader.op_type != "Add" or producer.op_type not in _CONVOLUTIONS:
            return False
        others = [self._producer.get(other) for other in reader.input if other != name]
        sources = [self._producer.get(producer.input[0]), *others]
        return len(others) == 1 and all(map(self._dequantizes_signed, sources))

    def _dequantizes_signed(self, node: Any | None) -> bool:
        if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
            return False
        return bool(self._stored.get(node.input[2]) == self._int8)

    def _is_quantized(self, name: str) -> bool:
        readers = self._readers[name]
        if not readers:
            return False
        if all(reader.op_type == "QuantizeLinear" for reader in readers):
            return True
        return self._is_fused(self._producer[name], name)
