"""Reads a Keras file or a SavedModel, in a process of its own: TensorFlow is large and loud."""

from __future__ import annotations

from pathlib import Path

from edgepose.host.sources.contents import ModelContents
from edgepose.host.sources.keras_process import run_keras
from edgepose.spec.model_report import TensorReport


def read_keras_contents(path: Path) -> ModelContents:
    """Reads tensors and layers.

    Raises:
        ModelError: The file is damaged, or runs code of its own (a Lambda layer), which is refused.
        MissingDependencyError: TensorFlow is not installed.
    """
    described = run_keras("describe", path)
    return ModelContents(
        inputs=tuple(TensorReport(**tensor) for tensor in described["inputs"]),
        outputs=tuple(TensorReport(**tensor) for tensor in described["outputs"]),
        ops=described["ops"],
        float_ops=described["ops"],
        integer_only=False,
        precision="float32",
    )
