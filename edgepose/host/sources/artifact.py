"""A model file that has been opened: what it is and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.host.sources.contents import read_contents
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.model_file import ModelFormat, detect_format, load_spec, read_metadata
from edgepose.spec.lineage import LINEAGE_METADATA_KEY, Lineage, lineage_from_json
from edgepose.spec.model_spec import ModelSpec


@dataclass(frozen=True)
class ModelArtifact:
    """A model file.

    Attributes:
        path: The file, or the folder of a SavedModel.
        format: Told from its content.
        precision: ``float32``, ``float16``, ``int8`` or ``mixed``, read from its tensors.
        spec: The spec inside it, or the one given.
        sha256: Its digest.
        size_bytes: Its size.
        lineage: What edgepose wrote into it, or None.
    """

    path: Path
    format: ModelFormat
    precision: str
    spec: ModelSpec
    sha256: str
    size_bytes: int
    lineage: Lineage | None


def open_artifact(path: Path, spec_file: Path | None = None) -> ModelArtifact:
    """Opens a model file.

    Raises:
        ModelError: It is missing, damaged or no model.
        ConfigError: It has no spec and none was given.
        MissingDependencyError: The package that reads its format is not installed.
    """
    model_format = detect_format(path)
    spec = load_spec(path, spec_file)
    return ModelArtifact(
        path=path,
        format=model_format,
        precision=read_contents(path, model_format).precision,
        spec=spec,
        sha256=sha256_of_model(path),
        size_bytes=size_bytes_of(path),
        lineage=read_lineage(path),
    )


def read_lineage(path: Path) -> Lineage | None:
    """The lineage inside a file, or None.

    Raises:
        ModelError: The file or its lineage is damaged.
    """
    text = read_metadata(path).get(LINEAGE_METADATA_KEY)
    return None if text is None else lineage_from_json(text, path.name)


def size_bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(member.stat().st_size for member in path.rglob("*") if member.is_file())
