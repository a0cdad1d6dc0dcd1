"""Reads a TFLite file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.sources.contents import ModelContents, precision_of
from edgepose.inference.model_file import read_model_bytes
from edgepose.inference.tflite_check import check_tflite
from edgepose.spec.model_report import TensorReport

_WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1}
_EDGETPU_OP = b"edgetpu-custom-op"
# Ops that only hand stored weights on.
_PASS_ON = frozenset({"DEQUANTIZE", "DENSIFY"})


def read_tflite_contents(path: Path) -> ModelContents:
    """Reads tensors, ops and types of a TFLite file.

    Raises:
        ModelError: The file is damaged.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    try:
        from edgepose.host.quantize.audit_tflite import audit_tflite_graph
        from edgepose.host.quantize.tflite_graph import read_tflite
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "Reading a TFLite model's graph needs ai-edge-litert.", "Run: pip install ai-edge-litert"
        ) from problem
    data = read_model_bytes(path)
    check_tflite(data, path.name)
    try:
        graph = read_tflite(data)
        audit = audit_tflite_graph(graph)
        subgraph = graph.subgraphs[0]
        inputs = tuple(_tensor(subgraph.tensors[index]) for index in subgraph.inputs)
        outputs = tuple(_tensor(subgraph.tensors[index]) for index in subgraph.outputs)
        weights, in_float = _weights(graph)
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        MemoryError,
    ) as problem:
        # The generated reader checks nothing: these are what bytes out of place make of it.
        raise ModelError(f"{path.name} is a TFLite model that is truncated or damaged.") from problem
    return ModelContents(
        inputs=inputs,
        outputs=outputs,
        ops=audit.ops,
        float_ops=audit.float_op_counts,
        integer_only=audit.integer_only,
        precision=precision_of(weights, computes_in_float=in_float),
    )


def type_name(tensor_type: int) -> str:
    """Numpy's spelling of a TFLite element type."""
    from ai_edge_litert.schema_py_generated import TensorType

    names = {value: name.lower() for name, value in vars(TensorType).items() if not name.startswith("_")}
    return names[tensor_type]


def _tensor(tensor: Any) -> TensorReport:
    quantization = tensor.quantization
    scales = [] if quantization is None or quantization.scale is None else list(quantization.scale)
    # A signature of -1 marks a size that may change; the shape then holds what it is by default.
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return TensorReport(
        name=tensor.name.decode(),
        shape=tuple(int(size) for size in (shape if shape is not None else ())),
        dtype=type_name(tensor.type),
        scale=float(scales[0]) if len(scales) == 1 else None,
        zero_point=int(quantization.zeroPoint[0]) if len(scales) == 1 else None,
    )


def _weights(graph: Any) -> tuple[set[str], bool]:
    """Element types of stored weights, and whether a weighted op computes on float values."""
    from edgepose.host.quantize.tflite_graph import op_name

    types: set[str] = set()
    in_float = False
    if any((code.customCode or b"") == _EDGETPU_OP for code in graph.operatorCodes):
        # The compiler has swallowed the ops; it accepts integer ones only.
        types.add("int8")
    for subgraph in graph.subgraphs:
        source = {op.outputs[0]: op.inputs[0] for op in subgraph.operators if op_name(graph, op) in _PASS_ON}
        for op in subgraph.operators:
            position = _WEIGHTED.get(op_name(graph, op))
            if position is None:
                continue
            index = op.inputs[position]
            while index in source:
                index = source[index]
            types.add(type_name(subgraph.tensors[index].type))
            in_float |= "float" in type_name(subgraph.tensors[op.outputs[0]].type)
    return types, in_float
