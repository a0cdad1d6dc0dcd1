"""A model file: its format by its content, what edgepose wrote into it, its digest.

Works without onnx, tensorflow or a runtime: a device reads its spec with the base install.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from flatbuffers import encode, number_types, table

from edgepose.errors import ConfigError, ModelError
from edgepose.records.model_spec import (
    SPEC_METADATA_KEY,
    ModelSpec,
    find_spec,
    known_spec_for,
    spec_from_json,
)
from edgepose.runtime.onnx_check import ExternalData, check_onnx, sha256_of_part
from edgepose.runtime.tflite_check import check_tflite
from edgepose.runtime.wire_formats import protobuf_fields
from edgepose.trust.digests import sha256_of_bytes, sha256_of_path

ModelFormat = Literal["tflite", "onnx", "keras", "keras_h5", "saved_model"]

# Offsets of flatbuffers and protobuf's own limit: no format here has larger files.
MODEL_LIMIT_BYTES = 2 << 30
_TFLITE_IDENTIFIER = b"TFL3"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Every reference of an ONNX file to another one has this key.
_LOCATION = re.compile(rb"location")
_ZIP_SIGNATURE = b"PK\x03\x04"
_KERAS_MEMBERS = frozenset({"config.json", "model.weights.h5"})
# Field numbers of onnx.proto's ModelProto and StringStringEntryProto.
_ONNX_IR_VERSION, _ONNX_GRAPH, _ONNX_METADATA = 1, 7, 14
_ONNX_KNOWN_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
# Slots of schema.fbs: Model.buffers, Model.metadata; Metadata.name, Metadata.buffer; Buffer.data.
_MODEL_BUFFERS, _MODEL_METADATA, _METADATA_NAME, _METADATA_BUFFER, _BUFFER_DATA = 4, 6, 0, 1, 0


class ModelFile:
    """A model file that is read once and handed on; each fact about it is found out once, when asked for.

    Args:
        path: The file, or the folder of a SavedModel.
        data: Its content, where it is at hand already; it is written there or about to be. Else the file is
            mapped, so that its pages are the system's cache and no second copy.

    Raises:
        ModelError: The file is missing, empty, truncated or none of the known formats.
    """

    def __init__(self, path: Path, data: bytes | memoryview | None = None) -> None:
        self.path = path
        self._is_folder = data is None and path.is_dir()
        self._data = None if data is None else memoryview(data)
        self.format: ModelFormat = "saved_model" if self._is_folder else _format_of(path, self.data)
        if self._is_folder and not (path / "saved_model.pb").is_file():
            raise ModelError(f"{path} is a folder without saved_model.pb, so it is no SavedModel.")

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def data(self) -> memoryview:
        """Its content, mapped again where it was let go; a folder has none."""
        if self._data is None:
            self._data = memoryview(b"") if self._is_folder else read_model_bytes(self.path)
        return self._data

    def let_go(self) -> None:
        """Keeps what was found out and drops the content, so that open models do not fill the memory."""
        self._data = None

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The text entries that it carries; formats without any give none.

        Raises:
            ModelError: The file is damaged.
        """
        if self.format == "onnx":
            return _onnx_metadata(self.path, self.data)
        if self.format == "tflite":
            return _tflite_metadata(self.path, self.data)
        return {}

    @cached_property
    def external(self) -> tuple[ExternalData, ...]:
        """What an ONNX file keeps in other files; to ask for it checks the whole file.

        Raises:
            ModelError: The file is damaged, or has what no runtime may be given (ADR 0034).
        """
        if self.format == "tflite":
            check_tflite(self.data, self.name)
        return check_onnx(self.path, self.data) if self.format == "onnx" else ()

    @cached_property
    def sha256(self) -> str:
        """Hex digest of all that decides what it computes: the file, or a SavedModel's names and contents.

        An ONNX file may keep weights in other files. Then it is the digest of the file's bytes followed by
        one line for each part outside: location, offset, length and the part's own digest, sorted.

        Raises:
            ModelError: Its external data are not where they may be.
            OSError: A part cannot be read.
        """
        if self._is_folder:
            return sha256_of_path(self.path)
        if self.format != "onnx" or not _LOCATION.search(self.data):
            return sha256_of_bytes(self.data)
        digest = hashlib.sha256(self.data)
        for part in self.external:
            own = sha256_of_part(self.path, part)
            digest.update(f"\n{part.location} {part.offset_bytes} {part.length_bytes} {own}".encode())
        return digest.hexdigest()

    @cached_property
    def size_bytes(self) -> int:
        """Size of the file, or of all files in the folder."""
        if self._data is not None and not self._is_folder:
            return len(self._data)
        members = self.path.rglob("*") if self._is_folder else [self.path]
        return sum(member.stat().st_size for member in members if member.is_file())

    def check(self) -> None:
        """Checks what a runtime would take for granted; a runtime follows what it is told.

        Raises:
            ModelError: The file is damaged, or has what no runtime may be given (ADR 0034).
        """
        _ = self.external

    def spec(self, spec_file: Path | None = None) -> ModelSpec:
        """The spec inside; else ``spec_file``; else that of a well-known detector.

        Args:
            spec_file: A TOML file, or the name of a ready spec.

        Raises:
            ModelError: The file is damaged, or its spec is.
            ConfigError: There is no spec inside and none was given, or the given one is wrong.
        """
        embedded = self.metadata.get(SPEC_METADATA_KEY)
        if embedded is not None:
            return spec_from_json(embedded, self.name)
        if spec_file is not None:
            return find_spec(spec_file)
        known = known_spec_for(self.sha256)
        if known is not None:
            return known
        raise ConfigError(
            f"{self.name} carries no spec, so its input and output cannot be understood.",
            "Give one with --spec FILE.toml; `edgepose models list` shows the ready ones.",
        )


def as_model_file(model: Path | ModelFile) -> ModelFile:
    """The model itself where it was read already.

    Raises:
        ModelError: It is missing, empty, truncated or none of the known formats.
    """
    return model if isinstance(model, ModelFile) else ModelFile(model)


def detect_format(path: Path) -> ModelFormat:
    """Tells the format by content, never by suffix.

    Raises:
        ModelError: The file is missing, empty, truncated or none of the known formats.
    """
    return ModelFile(path).format


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the text entries that a model file carries.

    Raises:
        ModelError: The file is damaged.
    """
    return ModelFile(path).metadata


def load_spec(path: Path, spec_file: Path | None = None) -> ModelSpec:
    """Reads the spec of a model, as ``ModelFile.spec`` does.

    Raises:
        ModelError: The file is damaged, or its spec is.
        ConfigError: There is no spec inside and none was given, or the given one is wrong.
    """
    return ModelFile(path).spec(spec_file)


def sha256_of_model(path: Path) -> str:
    """Digest of a model, as ``ModelFile.sha256`` has it.

    Raises:
        ModelError: The file cannot be read, or its external data are not where they may be.
    """
    data = None if path.is_dir() else read_model_bytes(path)
    # A damaged file has a digest, too; only references to other files ask for its format.
    outside = data is None or _LOCATION.search(data)
    return ModelFile(path, data).sha256 if data is None or outside else sha256_of_bytes(data)


def read_model_bytes(path: Path) -> memoryview:
    """Maps the content of a model's file; it stays readable when the file is replaced or removed.

    Raises:
        ModelError: It cannot be read, is no regular file, is empty or larger than any format allows.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MODEL_LIMIT_BYTES:
            raise ModelError(
                f"{path} is no regular file of at most {MODEL_LIMIT_BYTES >> 30} GiB, so no model to read."
            )
        if not status.st_size:
            raise ModelError(f"{path} is empty, expected a model.")
        with path.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as problem:
        raise ModelError(f"Cannot read the model {path}: {problem.strerror}.") from problem


def _format_of(path: Path, data: memoryview) -> ModelFormat:
    """Tells the format by content, never by suffix."""
    if data[4:8] == _TFLITE_IDENTIFIER:
        return "tflite"
    if data[: len(_HDF5_SIGNATURE)] == _HDF5_SIGNATURE:
        return "keras_h5"
    if data[: len(_ZIP_SIGNATURE)] == _ZIP_SIGNATURE:
        _check_keras_archive(path)
        return "keras"
    _check_onnx(path, data)
    return "onnx"


def _check_keras_archive(path: Path) -> None:
    """A .keras file is a zip archive with its configuration beside the weights; so are many others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as problem:
        raise ModelError(f"{path} is a zip archive that is truncated or damaged.") from problem
    if not names >= _KERAS_MEMBERS:
        raise ModelError(
            f"{path} is a zip archive without {' and '.join(sorted(_KERAS_MEMBERS))}, so no Keras model.",
            "Export a PyTorch checkpoint to ONNX first.",
        )


def _check_onnx(path: Path, data: memoryview) -> None:
    """Walks the top level of the protobuf, which also finds a file that was cut off."""
    seen: set[int] = set()
    whole = True
    try:
        seen.update(field for field, _ in protobuf_fields(data))
    except ValueError:
        whole = False
        seen.update(_fields_before_damage(data))
    looks_like_onnx = _ONNX_IR_VERSION in seen and seen <= _ONNX_KNOWN_FIELDS
    if looks_like_onnx and not whole:
        raise ModelError(
            f"{path} starts like an ONNX model and is truncated or damaged.", "Copy or export it again."
        )
    if not looks_like_onnx or _ONNX_GRAPH not in seen:
        raise ModelError(
            f"{path} is no model that edgepose knows; expected ONNX, TFLite, Keras or a SavedModel."
        )


def _fields_before_damage(data: memoryview) -> Iterator[int]:
    try:
        for field, _ in protobuf_fields(data):
            yield field
    except ValueError:
        return


def _onnx_metadata(path: Path, data: memoryview) -> dict[str, str]:
    entries = {}
    try:
        for field, value in protobuf_fields(data):
            if field == _ONNX_METADATA and isinstance(value, memoryview):
                pair = {
                    number: bytes(text)
                    for number, text in protobuf_fields(value)
                    if not isinstance(text, int)
                }
                entries[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
    except ValueError as problem:  # not a message, or not UTF-8
        raise ModelError(f"The metadata of {path} are damaged.", "Copy or export it again.") from problem
    return entries


def _tflite_metadata(path: Path, data: memoryview) -> dict[str, str]:
    try:
        root = table.Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
        buffers = _vector(root, _MODEL_BUFFERS)
        entries = {}
        for entry in _vector(root, _MODEL_METADATA):
            named = _offset(entry, _METADATA_NAME)
            name = entry.String(named + entry.Pos) if named else b""
            slot = _offset(entry, _METADATA_BUFFER)
            index = entry.Get(number_types.Uint32Flags, slot + entry.Pos) if slot else 0
            entries[name.decode()] = _buffer_bytes(buffers[index])
    except (struct.error, IndexError, TypeError, UnicodeDecodeError) as problem:
        raise ModelError(f"{path} starts like a TFLite model and is truncated or damaged.") from problem
    return {name: text for name, text in entries.items() if text is not None}


def _offset(entry: table.Table, slot: int) -> int:
    """Position of a field in its table, 0 when absent (two bytes a slot after a 4-byte header)."""
    return int(entry.Offset(4 + 2 * slot))


def _vector(entry: table.Table, slot: int) -> list[table.Table]:
    """The tables of a vector field."""
    offset = _offset(entry, slot)
    if not offset:
        return []
    start, length = entry.Vector(offset), entry.VectorLen(offset)
    if length * 4 > len(entry.Bytes):
        raise IndexError("vector reaches past the end")
    return [table.Table(entry.Bytes, entry.Indirect(start + 4 * i)) for i in range(length)]


def _buffer_bytes(buffer: table.Table) -> str | None:
    """The buffer as text, or None where it holds something else (other tools' metadata)."""
    offset = _offset(buffer, _BUFFER_DATA)
    if not offset:
        return None
    start, length = buffer.Vector(offset), buffer.VectorLen(offset)
    raw = bytes(buffer.Bytes[start : start + length])
    if len(raw) != length:
        raise IndexError("buffer reaches past the end")
    try:
        return raw.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
