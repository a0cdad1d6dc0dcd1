"""What one model file holds: tensors, ops, number types, and which ops compute in float."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from edgepose.accelerators import accelerators
from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.models.audit import OpAudit, audit_onnx_graph, audit_tflite_graph
from edgepose.host.models.operators import INTEGER_WEIGHTED, TFLITE_WEIGHTS, WEIGHTED
from edgepose.records.lineage import TensorReport
from edgepose.runtime.model_file import ModelFile

# Ops that only hand stored weights on.
_PASS_ON = frozenset({"DEQUANTIZE", "DENSIFY"})
_ONNX_PASS_ON = frozenset({"Cast", "DequantizeLinear", "Identity"})


@dataclass(frozen=True)
class ModelContents:
    """Tensors, ops and number types of a file.

    Attributes:
        float_ops: Count of the ops that compute in float.
        integer_only: Whether no tensor is float; None where that cannot be told.
        precision: ``float32``, ``float16``, ``int8`` or ``mixed``.
        audit: Op by op, which compute in float; None for Keras, where all do.
    """

    inputs: tuple[TensorReport, ...]
    outputs: tuple[TensorReport, ...]
    ops: dict[str, int]
    float_ops: dict[str, int]
    integer_only: bool | None
    precision: str
    audit: OpAudit | None = None


def read_contents(model: ModelFile) -> ModelContents:
    """Reads a file op by op.

    Raises:
        ModelError: The file is damaged, or has an op that its format does not know.
        MissingDependencyError: The package that reads this format is not installed.
    """
    if model.format == "onnx":
        return _read_onnx(model)
    return _read_tflite(model) if model.format == "tflite" else _read_keras(model)


def precision_of(weights: set[str], *, computes_in_float: bool) -> str:
    """Names a model's precision.

    Args:
        weights: Element types of the stored weights of convolutions and matrix products.
        computes_in_float: Whether such an op computes on float values.
    """
    integer = {name for name in weights if "int" in name}
    if integer:
        return "int8" if weights == integer and not computes_in_float else "mixed"
    return "float16" if "float16" in weights else "float32"


def _contents(
    ends: tuple[tuple[TensorReport, ...], tuple[TensorReport, ...]], audit: OpAudit, precision: str
) -> ModelContents:
    return ModelContents(*ends, audit.ops, audit.float_op_counts, audit.integer_only, precision, audit)


def _read_onnx(model: ModelFile) -> ModelContents:
    from edgepose.host.models.onnx_view import load_onnx

    _, graph = load_onnx(model)
    audit = audit_onnx_graph(graph)
    in_float = any(op.op in WEIGHTED for op in audit.float_ops)
    inputs = tuple(_onnx_tensor(v) for v in graph.model.graph.input if v.name not in graph.initializers)
    outputs = tuple(_onnx_tensor(value) for value in graph.model.graph.output)
    return _contents(
        (inputs, outputs), audit, precision_of(_onnx_weight_types(graph), computes_in_float=in_float)
    )


def _onnx_tensor(value: Any) -> TensorReport:
    from edgepose.host.models.onnx_view import numpy_name

    tensor_type = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor_type.shape.dim)
    return TensorReport(name=value.name, shape=shape, dtype=numpy_name(tensor_type.elem_type))


def _onnx_weight_types(graph: Any) -> set[str]:
    """Element types of stored weights, looked up through the Cast or DequantizeLinear before an op."""
    from edgepose.host.models.onnx_view import numpy_name

    elements = {name: entry.data_type for name, entry in graph.initializers.items()}
    for node in graph.nodes:
        if node.op_type in _ONNX_PASS_ON and node.input[0] in elements:
            elements[node.output[0]] = elements[node.input[0]]
    found = {
        numpy_name(elements[name])
        for node in graph.nodes
        if node.op_type in WEIGHTED
        for name in node.input[:2]
        if name in elements
    }
    return found | {"int8" for node in graph.nodes if node.op_type in INTEGER_WEIGHTED}


def _read_tflite(model: ModelFile) -> ModelContents:
    try:
        from edgepose.host.models.tflite_view import read_tflite
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "Reading a TFLite model's graph needs ai-edge-litert.", "Run: pip install ai-edge-litert"
        ) from problem
    model.check()
    try:
        graph = read_tflite(model.data)
        audit = audit_tflite_graph(graph)
        subgraph = graph.subgraphs[0]
        inputs = tuple(_tflite_tensor(subgraph.tensors[index]) for index in subgraph.inputs)
        outputs = tuple(_tflite_tensor(subgraph.tensors[index]) for index in subgraph.outputs)
        weights, in_float = _tflite_weight_types(graph)
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, MemoryError) as problem:
        # The generated reader checks nothing: these are what bytes out of place make of it.
        raise ModelError(f"{model.name} is a TFLite model that is truncated or damaged.") from problem
    return _contents((inputs, outputs), audit, precision_of(weights, computes_in_float=in_float))


def _tflite_tensor(tensor: Any) -> TensorReport:
    from edgepose.host.models.tflite_view import type_name

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


def _tflite_weight_types(graph: Any) -> tuple[set[str], bool]:
    """Element types of stored weights, and whether a weighted op computes on float values."""
    from edgepose.host.models.tflite_view import op_name, type_name

    types: set[str] = set()
    in_float = False
    compiled = {entry.compiled_op.encode() for entry in accelerators().values() if entry.compiled_op}
    if any(code.customCode in compiled for code in graph.operatorCodes):
        # The compiler has swallowed the ops; it accepts integer ones only.
        types.add("int8")
    for subgraph in graph.subgraphs:
        source = {op.outputs[0]: op.inputs[0] for op in subgraph.operators if op_name(graph, op) in _PASS_ON}
        for op in subgraph.operators:
            position = TFLITE_WEIGHTS.get(op_name(graph, op))
            if position is None:
                continue
            index = op.inputs[position]
            while index in source:
                index = source[index]
            types.add(type_name(subgraph.tensors[index].type))
            in_float |= "float" in type_name(subgraph.tensors[op.outputs[0]].type)
    return types, in_float


def _read_keras(model: ModelFile) -> ModelContents:
    """Tensors and layers; a file that runs code of its own (a Lambda layer) is refused."""
    from edgepose.host.models.keras_intake import run_keras

    described = run_keras("describe", model.path)
    ops = described["ops"]
    ends = [
        tuple(TensorReport(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"]) for t in described[end])
        for end in ("inputs", "outputs")
    ]
    return ModelContents(ends[0], ends[1], ops, ops, integer_only=False, precision="float32")
