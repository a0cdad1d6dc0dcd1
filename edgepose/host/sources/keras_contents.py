"""Reads a Keras file or a SavedModel, in a process of its own: TensorFlow is large and loud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        inputs=_tensors(described["inputs"]),
        outputs=_tensors(described["outputs"]),
        ops=described["ops"],
        float_ops=described["ops"],
        integer_only=False,
        precision="float32",
    )


def _tensors(described: list[dict[str, Any]]) -> tuple[TensorReport, ...]:
    return tuple(TensorReport(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"]) for t in described)
