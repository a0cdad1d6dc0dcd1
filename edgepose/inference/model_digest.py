"""The digest of a model: of everything that decides what it computes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgepose.errors import ModelError
from edgepose.inference.model_file import detect_format, read_model_bytes
from edgepose.inference.onnx_check import ExternalData, check_onnx, open_external
from edgepose.trust.digests import sha256_of_bytes, sha256_of_path

_CHUNK_BYTES = 1 << 20


def sha256_of_model(path: Path) -> str:
    """Hex digest of a model's file, or of a SavedModel's names and contents.

    An ONNX file may keep weights in other files. Then it is the digest of the file's bytes followed by one
    line for each part outside: location, offset, length and the part's own digest, sorted.

    Raises:
        ModelError: The file cannot be read, or its external data are not where they may be.
        OSError: A part cannot be read.
    """
    if path.is_dir():
        return sha256_of_path(path)
    data = read_model_bytes(path)
    # Every reference to another file has this key.
    if b"location" not in data or detect_format(path) != "onnx":
        return sha256_of_bytes(data)
    digest = hashlib.sha256(data)
    for part in check_onnx(path, data):
        line = f"\n{part.location} {part.offset_bytes} {part.length_bytes} {_sha256_of_part(path, part)}"
        digest.update(line.encode())
    return digest.hexdigest()


def _sha256_of_part(model: Path, part: ExternalData) -> str:
    digest, left = hashlib.sha256(), part.length_bytes
    with os.fdopen(open_external(model, part), "rb") as stream:
        stream.seek(part.offset_bytes)
        while left:
            chunk = stream.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise ModelError(f"{part.location} became shorter while it was read.")
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
