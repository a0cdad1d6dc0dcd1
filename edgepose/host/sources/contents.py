"""What one model file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.inference.model_file import ModelFormat
from edgepose.spec.model_report import TensorReport


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
        from edgepose.host.sources.onnx_contents import read_onnx_contents

        return read_onnx_contents(path)
    if model_format == "tflite":
        from edgepose.host.sources.tflite_contents import read_tflite_contents

        return read_tflite_contents(path)
    from edgepose.host.sources.keras_contents import read_keras_contents

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
