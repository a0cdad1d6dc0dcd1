"""Reads a .keras archive as bytes, within bounds: which members, how large, how far they unpack."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from edgepose.errors import ModelError
from edgepose.host.sources.keras_config import read_json, read_keras_config

CONFIG_NAME, METADATA_NAME, WEIGHTS_NAME = "config.json", "metadata.json", "model.weights.h5"
# The most that a member may unpack to; protobuf's and TFLite's limit for the weights.
_LIMITS_BYTES = {CONFIG_NAME: 8 << 20, METADATA_NAME: 64 << 10, WEIGHTS_NAME: 2 << 30}
# A member may unpack to this many times its size in the archive; small ones to anything.
_LARGEST_RATIO = 100
_SMALL_BYTES = 16 << 20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_CHUNK_BYTES = 1 << 20
# The end of a zip archive (APPNOTE.TXT 4.3.16), without a comment; 4.3.15 before it would mean zip64.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_SIGNATURE, _ZIP64_LOCATOR_BYTES = b"PK\x05\x06", b"PK\x06\x07", 20
_MOST_DIRECTORY_BYTES = 4096
_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, NotImplementedError, EOFError)


def read_archive_config(path: Path) -> dict[str, Any]:
    """Judges an archive and the configuration in it; its weights are only measured.

    Returns:
        The configuration, which holds only what is allowed.

    Raises:
        ModelError: The archive is damaged, unpacks to too much, or holds or names what is not allowed.
    """
    with path.open("rb") as stream:
        archive = _open(stream, path)
        config = _read(archive, CONFIG_NAME, path)
        if METADATA_NAME in archive.namelist():
            read_json(_read(archive, METADATA_NAME, path), path.name)
    judged: dict[str, Any] = read_keras_config(config, path.name)
    return judged


def extract_weights(path: Path, target: Path) -> None:
    """Unpacks the weights of an archive that was judged.

    Raises:
        ModelError: The archive is damaged.
    """
    with path.open("rb") as stream:
        archive = _open(stream, path)
        try:
            with archive.open(WEIGHTS_NAME) as member, target.open("xb") as output:
                left = archive.getinfo(WEIGHTS_NAME).file_size
                while chunk := member.read(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError("more than announced")
                    output.write(chunk)
        except _DAMAGED as problem:
            raise ModelError(f"{path.name} is a Keras file whose weights are damaged.") from problem


def _open(stream: IO[bytes], path: Path) -> zipfile.ZipFile:
    _check_end(stream, path)
    try:
        archive = zipfile.ZipFile(stream)
    except _DAMAGED as problem:
        raise ModelError(f"{path.name} is a zip archive that is truncated or damaged.") from problem
    members = archive.infolist()
    names = [member.filename for member in members]
    if sorted(names) != sorted(set(names)):
        raise ModelError(f"{path.name} holds a member twice, so it is no Keras file to trust.")
    for member in members:
        limit = _LIMITS_BYTES.get(member.filename)
        if limit is None:
            raise ModelError(
                f"{path.name} holds {member.filename[:80]!r}; expected {', '.join(sorted(_LIMITS_BYTES))}.",
                "Save the model without assets (no vocabularies, no text layers), or export it to ONNX.",
            )
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > limit or (member.file_size > _SMALL_BYTES and ratio > _LARGEST_RATIO):
            raise ModelError(
                f"{path.name} holds {member.filename} of {member.file_size >> 20} MiB, packed {ratio:.0f} "
                f"to 1; at most {limit >> 20} MiB and {_LARGEST_RATIO} to 1 are unpacked."
            )
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
            raise ModelError(f"{path.name} holds {member.filename} encrypted or packed in an unusual way.")
    if not {CONFIG_NAME, WEIGHTS_NAME} <= set(names):
        raise ModelError(f"{path.name} is a zip archive without {CONFIG_NAME} and {WEIGHTS_NAME}.")
    return archive


def _check_end(stream: IO[bytes], path: Path) -> None:
    """Bounds the directory before ``zipfile`` reads it whole."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _END.size - _ZIP64_LOCATOR_BYTES))
    tail = stream.read()
    stream.seek(0)
    end = tail[-_END.size :]
    plain = len(end) == _END.size and end.startswith(_END_SIGNATURE) and not tail.startswith(_ZIP64_SIGNATURE)
    if not plain:
        raise ModelError(f"{path.name} is a zip archive that is truncated or damaged, or has a comment.")
    directory_bytes, comment_bytes = _END.unpack(end)[5], _END.unpack(end)[7]
    if directory_bytes > _MOST_DIRECTORY_BYTES or comment_bytes:
        raise ModelError(f"{path.name} is a zip archive with more members than a Keras file has.")


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        with archive.open(name) as member:
            data = member.read(_LIMITS_BYTES[name] + 1)
    except _DAMAGED as problem:
        raise ModelError(f"{path.name} is a Keras file whose {name} is damaged.") from problem
    if len(data) > _LIMITS_BYTES[name]:
        raise ModelError(f"{path.name} holds a {name} that unpacks to more than it says.")
    return data
