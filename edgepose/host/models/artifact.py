"""A model file that has been opened: read once, looked into once, and handed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgepose.errors import ModelError
from edgepose.host.models.contents import ModelContents, read_contents
from edgepose.records.files import write_whole
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, lineage_from_json
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.backend import Backend
from edgepose.runtime.model_file import ModelFile, ModelFormat, as_model_file
from edgepose.runtime.open_model import open_backend, require_pose_spec
from edgepose.runtime.pipeline import PosePipeline

# The content of larger files is read again where it is needed, not held.
_HELD_BYTES = 64 << 20


@dataclass(frozen=True)
class ModelArtifact:
    """A model file with what is known of it.

    Attributes:
        file: The file, or the folder of a SavedModel.
        spec: The spec inside it, or the one given.
        lineage: What edgepose wrote into it, or None.
        opened: The model on its runtime, where it was opened before; any file of the same numbers will do.
    """

    file: ModelFile
    spec: ModelSpec
    contents: ModelContents
    lineage: Lineage | None
    opened: Backend | None = field(default=None, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The file, or the folder of a SavedModel."""
        return self.file.path

    @property
    def format(self) -> ModelFormat:
        """Told from its content."""
        return self.file.format

    @property
    def precision(self) -> str:
        """``float32``, ``float16``, ``int8`` or ``mixed``, read from its tensors."""
        return self.contents.precision

    @property
    def sha256(self) -> str:
        """Its digest."""
        return self.file.sha256

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.file.size_bytes

    @cached_property
    def backend(self) -> Backend:
        """The model on its runtime, one CPU thread; opened once.

        Raises:
            EdgeposeError: As ``open_backend`` raises.
        """
        return self.opened or open_backend(self.file)

    def pipeline(self, score_threshold: float | None = None) -> PosePipeline:
        """The pose pipeline of the device on ``backend``.

        Raises:
            ConfigError: It is a detector.
            EdgeposeError: As ``open_backend`` and ``PosePipeline`` raise.
        """
        return PosePipeline(self.backend, require_pose_spec(self.spec, self.path), score_threshold)


def open_artifact(
    model: Path | ModelFile, spec_file: Path | None = None, opened: Backend | None = None
) -> ModelArtifact:
    """Opens a model file; ``spec_file`` is for one without a spec, ``opened`` is it on its runtime already.

    Raises:
        ModelError: It is missing, damaged or no model.
        ConfigError: It has no spec and none was given.
        MissingDependencyError: The package that reads its format is not installed.
    """
    file = as_model_file(model)
    artifact = ModelArtifact(file, file.spec(spec_file), read_contents(file), lineage_in(file), opened)
    if artifact.sha256 and artifact.size_bytes > _HELD_BYTES:
        file.let_go()
    return artifact


def lineage_in(model: ModelFile) -> Lineage | None:
    """The lineage inside a file, or None.

    Raises:
        ModelError: The file or its lineage is damaged.
    """
    text = model.metadata.get(LINEAGE_METADATA_KEY)
    return None if text is None else lineage_from_json(text, model.name)


def write_metadata(path: Path, entries: dict[str, str]) -> None:
    """Adds or replaces text entries of an ONNX or TFLite file; everything else in it stays as it is.

    The file is replaced as a whole or not at all. The same file and entries give the same bytes.

    Raises:
        ModelError: The file is damaged, or its format carries no entries.
        ConfigError: The file cannot be written.
    """
    write_whole(path, [with_entries(ModelFile(path), entries)])


def with_entries(model: ModelFile, entries: dict[str, str]) -> bytes:
    """A file's content with text entries added or replaced: the spec and the lineage.

    Raises:
        ModelError: The file is damaged, or its format carries no entries.
    """
    if model.format == "onnx":
        from edgepose.host.models.onnx_view import with_onnx_entries

        return with_onnx_entries(model, entries)
    if model.format == "tflite":
        from edgepose.host.models.tflite_view import with_tflite_entries

        return with_tflite_entries(model.data, entries, model.name)
    raise ModelError(f"{model.name} is a {model.format} model, which carries no spec.", "Convert it first.")
