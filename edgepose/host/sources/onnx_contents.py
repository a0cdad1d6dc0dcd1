"""Reads an ONNX file."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.quantize.audit_onnx import audit_onnx
from edgepose.host.sources.contents import ModelContents, precision_of
from edgepose.inference.model_file import read_model_bytes
from edgepose.inference.onnx_check import check_onnx
from edgepose.spec.model_report import TensorReport

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
