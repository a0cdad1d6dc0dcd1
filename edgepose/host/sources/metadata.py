"""Writes text entries into a model file: the spec and the lineage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from edgepose.errors import ModelError
from edgepose.inference.model_file import detect_format, read_metadata
from edgepose.spec.whole_file import write_whole

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
    from edgepose.host.sources.onnx_contents import load_onnx

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
