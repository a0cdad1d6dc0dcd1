"""From the trained network to files that every other command takes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from edgepose.host.convert.conversion import ConversionRequest, Say, convert_model
from edgepose.host.distill.folded_network import fold
from edgepose.host.distill.onnx_file import onnx_bytes, require_same_answers
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.host.sources.metadata import write_metadata
from edgepose.spec.lineage import LINEAGE_METADATA_KEY, Lineage, ParentModel, lineage_to_json
from edgepose.spec.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from edgepose.spec.whole_file import write_whole
from edgepose.trust.digests import sha256_of_file


def export_student(
    student: Any, spec: ModelSpec, parents: tuple[ParentModel, ...], folder: Path, say: Say
) -> Path:
    """Writes ``model.keras`` and, compared with it, ``model.tflite`` and ``model.onnx``, spec inside.

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
    converted = convert_model(ConversionRequest(source, "tflite", output, report=say)).artifact
    _write_onnx(student, converted, folder)
    return output


def _write_onnx(student: Any, converted: ModelArtifact, folder: Path) -> None:
    """``model.onnx``, for devices that run ONNX: the same network, compared with the Keras student."""
    data = onnx_bytes(fold(student))
    with TemporaryDirectory(prefix=".export.", dir=folder) as scratch:
        draft = Path(scratch) / "model.onnx"
        draft.write_bytes(data)
        require_same_answers(student, draft)
        channels_first = msgspec.structs.replace(converted.spec.input, layout="NCHW")
        spec = msgspec.structs.replace(converted.spec, input=channels_first)
        entries = {SPEC_METADATA_KEY: spec_to_json(spec)}
        if converted.lineage is not None:
            entries[LINEAGE_METADATA_KEY] = lineage_to_json(converted.lineage)
        write_metadata(draft, entries)
        write_whole(folder / "model.onnx", [draft.read_bytes()])
