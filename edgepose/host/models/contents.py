"""What one model file holds, whatever its format.

Reads an ONNX file.

Reads a TFLite file.

Reads a Keras file or a SavedModel, in a process of its own: TensorFlow is large and loud.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.accelerators import accelerators
from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.models.audit import audit_onnx
from edgepose.host.models.keras_intake import run_keras
from edgepose.records.lineage import TensorReport
from edgepose.runtime.model_file import ModelFormat, read_model_bytes
from edgepose.runtime.onnx_check import check_onnx
from edgepose.runtime.tflite_check import check_tflite


@dataclass(frozen=True)
class ModelContents:
    """Tensors, ops and number types of a file.

    Attributes:
        inputs: Input tensors.
        outputs: Output tensors.
        ops: Count of every op.
        float_ops: Count of the ops that compute in float.
        integer_only: Whether no tensor is float; None where that cannot be told.
        precision: ``float32``, ``float16``, ``int8`` or ``mixed``.
    """

    inputs: tuple[TensorReport, ...]
    outputs: tuple[TensorReport, ...]
    ops: dict[str, int]
    float_ops: dict[str, int]
    integer_only: bool | None
    precision: str


def read_contents(path: Path, model_format: ModelFormat) -> ModelContents:
    """Reads a file op by op.

    Raises:
        ModelError: The file is damaged, or has an op that its format does not know.
        MissingDependencyError: The package that reads this format is not installed.
    """
    if model_format == "onnx":
        return read_onnx_contents(path)
    if model_format == "tflite":
        return read_tflite_contents(path)

    return read_keras_contents(path)


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


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Values of one tensor between two ops; 256 MiB in float32.
_RESULT_LIMIT = 1 << 26
_INTEGER_WEIGHTED = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})


def load_onnx(path: Path) -> Any:
    """Loads an ONNX file that was judged from its bytes before (``onnx_check``), and checks it.

    Returns:
        The ``onnx.ModelProto``.

    Raises:
        ModelError: The file is damaged, or has an op that ONNX does not know.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "Reading an ONNX model's graph needs the onnx package.", "Run: pip install 'edgepose[convert]'"
        ) from problem
    check_onnx(path, read_model_bytes(path))
    try:
        model = onnx.load(path)
        # The checker wants output shapes, which exporters may leave out and runtimes do not need.
        complete = onnx.shape_inference.infer_shapes(model)
        for value in complete.graph.output:
            value.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(complete)
        _refuse_huge_results(path, complete)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        DecodeError,
        OSError,
        ValueError,
        RuntimeError,
    ) as problem:
        reason = " ".join(str(problem).split()).split(" ==> ")[0].rstrip(".")
        raise ModelError(f"{path.name} is not a valid ONNX model: {reason[:200]}.") from problem
    return model


def _refuse_huge_results(path: Path, complete: Any) -> None:
    """A file of a few bytes can ask for any amount of memory."""
    for value in (*complete.graph.value_info, *complete.graph.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value > 0]
        if math.prod(sizes) > _RESULT_LIMIT:
            raise ModelError(
                f"{path.name} computes a tensor {value.name!r} of {math.prod(sizes):.2g} values; at most "
                f"{_RESULT_LIMIT} are taken."
            )


def read_onnx_contents(path: Path) -> ModelContents:
    """Reads tensors, ops and types of an ONNX file.

    Raises:
        ModelError: The file is damaged, or has an op that ONNX does not know.
        MissingDependencyError: onnx is not installed.
    """
    model = load_onnx(path)
    from onnx import shape_inference

    model = shape_inference.infer_shapes(model)
    audit = audit_onnx(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    weights = _weight_types(model)
    in_float = any(op.op in _WEIGHTED for op in audit.float_ops)
    return ModelContents(
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in stored),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        ops=audit.ops,
        float_ops=audit.float_op_counts,
        integer_only=audit.integer_only,
        precision=precision_of(weights, computes_in_float=in_float),
    )


def _tensor(value: Any) -> TensorReport:
    from onnx import helper

    tensor_type = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor_type.shape.dim)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)).name
    return TensorReport(name=value.name, shape=shape, dtype=dtype)


def _weight_types(model: Any) -> set[str]:
    """Element types of stored weights, looked up through the Cast or DequantizeLinear before an op."""
    from onnx import helper

    types = {
        tensor.name: np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).name
        for tensor in model.graph.initializer
    }
    for node in model.graph.node:
        if node.op_type in {"Cast", "DequantizeLinear", "Identity"} and node.input[0] in types:
            types[node.output[0]] = types[node.input[0]]
    found: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in _WEIGHTED:
            found.update(types[name] for name in node.input[:2] if name in types)
        elif node.op_type in _INTEGER_WEIGHTED:
            found["int8"] += 1
    return set(found)


_TFLITE_CONTENTS_WEIGHTED = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
    "CONV_3D": 1,
}
# Ops that only hand stored weights on.
_PASS_ON = frozenset({"DEQUANTIZE", "DENSIFY"})


def read_tflite_contents(path: Path) -> ModelContents:
    """Reads tensors, ops and types of a TFLite file.

    Raises:
        ModelError: The file is damaged.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    try:
        from edgepose.host.models.audit import audit_tflite_graph
        from edgepose.host.models.tflite_view import read_tflite
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
        inputs = tuple(_tflite_contents_tensor(subgraph.tensors[index]) for index in subgraph.inputs)
        outputs = tuple(_tflite_contents_tensor(subgraph.tensors[index]) for index in subgraph.outputs)
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


def _tflite_contents_tensor(tensor: Any) -> TensorReport:
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
    from edgepose.host.models.tflite_view import op_name

    types: set[str] = set()
    in_float = False
    compiled = {entry.compiled_op.encode() for entry in accelerators().values() if entry.compiled_op}
    if any(code.customCode in compiled for code in graph.operatorCodes):
        # The compiler has swallowed the ops; it accepts integer ones only.
        types.add("int8")
    for subgraph in graph.subgraphs:
        source = {op.outputs[0]: op.inputs[0] for op in subgraph.operators if op_name(graph, op) in _PASS_ON}
        for op in subgraph.operators:
            position = _TFLITE_CONTENTS_WEIGHTED.get(op_name(graph, op))
            if position is None:
                continue
            index = op.inputs[position]
            while index in source:
                index = source[index]
            types.add(type_name(subgraph.tensors[index].type))
            in_float |= "float" in type_name(subgraph.tensors[op.outputs[0]].type)
    return types, in_float


def read_keras_contents(path: Path) -> ModelContents:
    """Reads tensors and layers.

    Raises:
        ModelError: The file is damaged, or runs code of its own (a Lambda layer), which is refused.
        MissingDependencyError: TensorFlow is not installed.
    """
    described = run_keras("describe", path)
    return ModelContents(
        inputs=_tensors(described["inputs"]),
        outputs=_tensors(described["outputs"]),
        ops=described["ops"],
        float_ops=described["ops"],
        integer_only=False,
        precision="float32",
    )


def _tensors(described: list[dict[str, Any]]) -> tuple[TensorReport, ...]:
    return tuple(TensorReport(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"]) for t in described)
