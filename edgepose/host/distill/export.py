"""From the trained network to files that every other command takes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.host.convert.conversion import ConversionRequest, Say, convert_model
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.spec.lineage import Lineage, ParentModel
from edgepose.spec.model_spec import ModelSpec
from edgepose.spec.whole_file import write_whole
from edgepose.trust.digests import sha256_of_file


def export_student(
    student: Any, spec: ModelSpec, parents: tuple[ParentModel, ...], folder: Path, say: Say
) -> Path:
    """Writes ``model.keras`` and, converted and compared, ``model.tflite`` with spec and lineage.

    Args:
        student: A float32 Keras model.
        spec: How it is run.
        parents: The teacher, where there was one.
        folder: Where to write.
        say: Told what happens.

    Returns:
        The TFLite file.

    Raises:
        ConfigError: A file cannot be written.
        ModelError: The conversion damaged the model.
        MissingDependencyError: TensorFlow, which converts, is not installed.
    """
    keras_file = folder / "model.keras"
    with TemporaryDirectory(prefix=".export.", dir=folder) as scratch:
        draft = Path(scratch) / "model.keras"
        student.save(draft)
        write_whole(keras_file, [draft.read_bytes()])
    source = ModelArtifact(
        path=keras_file,
        format="keras",
        precision="float32",
        spec=spec,
        sha256=sha256_of_file(keras_file),
        size_bytes=keras_file.stat().st_size,
        lineage=Lineage(parents=parents, tools={}, precision="float32") if parents else None,
    )
    output = folder / "model.tflite"
    convert_model(ConversionRequest(source, "tflite", output, report=say))
    return output
