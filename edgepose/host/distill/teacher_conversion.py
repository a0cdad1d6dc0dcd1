"""A teacher that no runtime here loads, a Keras model or SavedModel, is converted first."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import EdgeposeError
from edgepose.host.convert.conversion import ConversionRequest, Say, convert_model
from edgepose.host.sources.artifact import open_artifact
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.model_file import detect_format

CONVERTED_NAME = "teacher.tflite"
_CONVERTED = frozenset({"keras", "keras_h5", "saved_model"})


def runnable_teacher(path: Path, spec_file: Path | None, folder: Path, say: Say) -> tuple[Path, Path | None]:
    """The teacher itself, or its TFLite form in a folder, compared with it on every output.

    Args:
        path: The teacher.
        spec_file: Its spec, where it carries none.
        folder: Takes the converted file, which is used again as long as it comes from the same teacher.
        say: Told what happens.

    Returns:
        A file that ``open_teacher`` takes, and the spec that it needs.

    Raises:
        ConfigError: The teacher is not there, or its spec is missing or wrong.
        ModelError: The teacher is damaged, or the conversion damaged it.
        MissingDependencyError: TensorFlow is not installed.
    """
    if detect_format(path) not in _CONVERTED:
        return path, spec_file
    converted = folder / CONVERTED_NAME
    if not _comes_from(converted, path):
        say(f"converting the teacher {path.name} to TFLite")
        convert_model(ConversionRequest(open_artifact(path, spec_file), "tflite", converted, say))
    return converted, None


def _comes_from(converted: Path, teacher: Path) -> bool:
    if not converted.is_file():
        return False
    try:
        lineage = open_artifact(converted).lineage
    except EdgeposeError:
        # Left by something else; it is written anew.
        return False
    return lineage is not None and lineage.parents[-1].sha256 == sha256_of_model(teacher)
