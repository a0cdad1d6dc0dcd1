"""The record of ``edgepose models inspect``: ``edgepose.model/1``."""

from __future__ import annotations

from edgepose.spec.model_spec import ModelSpec
from edgepose.spec.records import Record


class TensorReport(Record, frozen=True, kw_only=True):
    """An input or output.

    Attributes:
        name: Name in the file.
        shape: Sizes; -1 where the file leaves one open.
        dtype: Element type, in numpy's spelling.
        scale: Quantization step, or None.
        zero_point: The integer that stands for 0, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class ModelInspection(Record, frozen=True, kw_only=True):
    """What a model file is.

    Attributes:
        schema: The record's name and version.
        format: ``onnx``, ``tflite``, ``keras``, ``keras_h5`` or ``saved_model``.
        precision: ``float32``, ``float16`` (stored weights), ``int8`` or ``mixed``.
        size_bytes: Size of the file, or of all files of a SavedModel.
        sha256: Digest of the file, or of a SavedModel's names and contents.
        inputs: Input tensors.
        outputs: Output tensors.
        ops: Count of every op (of every layer for Keras).
        integer_only: Whether no tensor of the whole file is float; None where that cannot be told.
        float_ops: Count of the ops that compute in float.
        spec: The spec inside the file, or the given one, or None.
        spec_from: ``file``, ``option``, ``known model`` or ``missing``.
        missing: What has to be given before edgepose can run the model.
    """

    schema: str
    format: str
    precision: str
    size_bytes: int
    sha256: str
    inputs: tuple[TensorReport, ...]
    outputs: tuple[TensorReport, ...]
    ops: dict[str, int]
    integer_only: bool | None
    float_ops: dict[str, int]
    spec: ModelSpec | None
    spec_from: str
    missing: tuple[str, ...]

    @property
    def float_op_names(self) -> tuple[str, ...]:
        """One name for each op that computes in float."""
        return tuple(name for name, count in self.float_ops.items() for _ in range(count))
