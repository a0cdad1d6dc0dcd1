"""The op audit of a TFLite file."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgepose.host.quantize.audit import AuditedOp, OpAudit
from edgepose.host.quantize.tflite_graph import op_name, read_tflite, tensor_name

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
# Position of the stored weights among an op's inputs (the kernels' documentation in schema.fbs).
_WEIGHT_INPUT = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}


def audit_tflite(model: bytes) -> OpAudit:
    """Reads every op of every subgraph."""
    return audit_tflite_graph(read_tflite(model))


def audit_tflite_graph(graph: Any) -> OpAudit:
    """The same for a file that was unpacked already (``read_tflite``)."""
    from ai_edge_litert.schema_py_generated import TensorType

    float_types = {TensorType.FLOAT16, TensorType.FLOAT32, TensorType.FLOAT64, TensorType.BFLOAT16}
    ops: Counter[str] = Counter()
    float_ops: list[AuditedOp] = []
    wide_weights: list[AuditedOp] = []
    for subgraph in graph.subgraphs:
        for op in subgraph.operators:
            name = op_name(graph, op)
            ops[name] += 1
            tensors = [subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
            outputs = tuple(tensor_name(subgraph.tensors[i]) for i in op.outputs)
            entry = AuditedOp(name, outputs[0] if outputs else "", outputs)
            if name not in _CONVERSIONS and any(t.type in float_types for t in tensors):
                float_ops.append(entry)
            if _stores_float32_weights(graph, subgraph, op, name):
                wide_weights.append(entry)
    every_tensor = (tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors)
    return OpAudit(
        ops=dict(ops.most_common()),
        float_ops=tuple(float_ops),
        wide_weights=tuple(wide_weights),
        integer_only=not any(tensor.type in float_types for tensor in every_tensor),
    )


def _stores_float32_weights(graph: Any, subgraph: Any, op: Any, name: str) -> bool:
    from ai_edge_litert.schema_py_generated import TensorType

    position = _WEIGHT_INPUT.get(name)
    if position is None or op.inputs[position] < 0:
        return False
    tensor = subgraph.tensors[op.inputs[position]]
    data = graph.buffers[tensor.buffer].data
    return bool(tensor.type == TensorType.FLOAT32 and data is not None and len(data))
