"""A model file that has been opened: what it is and where it came from.

Writes text entries into a model file: the spec and the lineage.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from edgepose.errors import ModelError
from edgepose.host.models.contents import read_contents
from edgepose.records.files import write_whole
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, lineage_from_json
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.model_file import ModelFormat, detect_format, load_spec, read_metadata, sha256_of_model


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


# schema.fbs: Buffer.data has force_align 16.
_BUFFER_ALIGNMENT = 16


def write_metadata(path: Path, entries: dict[str, str]) -> None:
    """Adds or replaces entries; everything else in the file stays as it is.

    The file is replaced as a whole or not at all. The same file and entries give the same bytes.

    Args:
        path: An ONNX or TFLite file.
        entries: Key to text.

    Raises:
        ModelError: The file is damaged, or its format carries no entries.
        ConfigError: The file cannot be written.
    """
    model_format = detect_format(path)
    if model_format == "onnx":
        data = _with_onnx_entries(path, entries)
    elif model_format == "tflite":
        data = with_tflite_entries(path.read_bytes(), entries, path.name)
    else:
        raise ModelError(
            f"{path.name} is a {model_format} model, which carries no spec.", "Convert it first."
        )
    write_whole(path, [data])


def _with_onnx_entries(path: Path, entries: dict[str, str]) -> bytes:
    from edgepose.host.models.contents import load_onnx

    model = load_onnx(path)
    kept = read_metadata(path)
    del model.metadata_props[:]
    for key, value in {**kept, **entries}.items():
        model.metadata_props.add(key=key, value=value)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def with_tflite_entries(data: bytes, entries: dict[str, str], name: str) -> bytes:
    """The bytes of a TFLite file with entries added or replaced.

    Raises:
        ModelError: The bytes are damaged, or too large for one flatbuffer.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        graph = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as problem:
        raise ModelError(f"{name} is a TFLite model that is truncated or damaged.") from problem
    if any(buffer.offset for buffer in graph.buffers):
        raise ModelError(f"{name} keeps weights outside its flatbuffer (over 2 GB), which is not supported.")
    graph.metadata = list(graph.metadata or [])
    for key, text in entries.items():
        _buffer_for(graph, key).data = np.frombuffer(text.encode(), np.uint8)
    builder = _CompactBuilder(len(data) + 4096)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _CompactBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns buffers, and writes equal scales and zero points once.

    The schema's ``force_align`` asks byte vectors to start at multiples of 16; the generated Python code
    ignores that, and kernels may read constants with aligned loads. Zero points take 8 bytes a channel and
    are nearly always 0: in int8 TinyPose-256 they were a seventh of the file. A flatbuffer's tables may share
    a vector; readers see no difference.
    """

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], Any] = {}

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        wanted = _BUFFER_ALIGNMENT if elemSize == 1 else alignment
        return super().StartVector(elemSize, numElems, wanted)

    def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
        if x.dtype.itemsize == 1:
            return super().CreateNumpyVector(x)
        identity = x.dtype.str, x.tobytes()
        if identity not in self._written:
            self._written[identity] = super().CreateNumpyVector(x)
        return self._written[identity]


def _buffer_for(graph: Any, key: str) -> Any:
    """The buffer that only this entry uses; a new one where the file shares it or has none."""
    from ai_edge_litert import schema_py_generated as schema

    entry = next((entry for entry in graph.metadata if _text(entry.name) == key), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name = key.encode()
        graph.metadata.append(entry)
    tensors = (tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors)
    users = sum(user.buffer == entry.buffer for user in (*tensors, *graph.metadata))
    if entry.buffer == 0 or users != 1 or entry.buffer >= len(graph.buffers):
        entry.buffer = len(graph.buffers)
        graph.buffers.append(schema.BufferT())
    return graph.buffers[entry.buffer]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
