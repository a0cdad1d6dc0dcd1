"""The way of a Keras file or SavedModel to TensorFlow: judged from its bytes, copied, judged whole.

``judge_bytes`` is what the calling process can do cheaply and in plain Python. ``take_in`` is the first step
of the process that loads the model: it copies what it judges, so that what is loaded is what was judged.
A .keras archive is read within bounds: which members, how large, how far they unpack.
``run_keras`` runs ``keras_worker.py``, locked in, and turns its ending into one of edgepose's errors.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.models.hdf5_check import check_hdf5, read_hdf5_config
from edgepose.host.models.keras_config import read_json, read_keras_config
from edgepose.host.models.locked_loader import LoaderTask, reason_of, run_locked
from edgepose.host.models.saved_model_check import check_saved_model
from edgepose.runtime.model_file import MODEL_LIMIT_BYTES, ModelFormat, detect_format

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

    Raises:
        ModelError: The archive is damaged, unpacks to too much, or holds or names what is not allowed.
    """
    with path.open("rb") as stream:
        archive = _open(stream, path)
        config = _read(archive, CONFIG_NAME, path)
        if METADATA_NAME in archive.namelist():
            read_json(_read(archive, METADATA_NAME, path), path.name)
    return read_keras_config(config, path.name)


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


@dataclass(frozen=True)
class TakenModel:
    """A judged model, in the folder of the process that loads it.

    Attributes:
        path: The HDF5 file, the folder of the SavedModel, or the weights of a .keras archive.
        config: The configuration of a Keras model.
    """

    format: ModelFormat
    path: Path
    config: dict[str, Any] | None


def judge_bytes(path: Path) -> None:
    """Judges a model without any library but Python's own; an HDF5 file only by its size.

    Raises:
        ModelError: The model is damaged, or has something that is not allowed.
    """
    model_format = detect_format(path)
    if model_format == "saved_model":
        check_saved_model(path)
    elif model_format == "keras":
        read_archive_config(path)


def take_in(path: Path, folder: Path) -> TakenModel:
    """Copies a model into an empty folder of this process and judges the copy, down to each HDF5 object.

    Raises:
        ModelError: The model is damaged, or has something that is not allowed.
    """
    model_format = detect_format(path)
    if model_format == "saved_model":
        taken = folder / "model"
        for file in check_saved_model(path):
            (taken / file).parent.mkdir(parents=True, exist_ok=True)
            _copy(path / file, taken / file)
        check_saved_model(taken)
        return TakenModel(model_format, taken, None)
    if model_format == "keras_h5":
        taken = folder / "model.h5"
        _copy(path, taken)
        return TakenModel(model_format, taken, read_hdf5_config(taken, path.name))
    if model_format == "keras":
        archive, weights = folder / "model.keras", folder / WEIGHTS_NAME
        _copy(path, archive)
        config = read_archive_config(archive)
        extract_weights(archive, weights)
        archive.unlink()
        check_hdf5(weights, path.name)
        return TakenModel(model_format, weights, config)
    raise ModelError(f"{path.name} is a {model_format} model, expected Keras or a SavedModel.")


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as stream, target.open("xb") as copy:
            shutil.copyfileobj(stream, copy)
            size = copy.tell()
    except OSError as problem:
        raise ModelError(f"Cannot read {source}: {problem.strerror}.") from problem
    if size > MODEL_LIMIT_BYTES:
        raise ModelError(f"{source.name} has over {MODEL_LIMIT_BYTES >> 30} GiB, so it is no model to read.")


_WORKER = "edgepose.host.models.keras_worker"
_TIMEOUT_S = 900
# A description of layers; a file of a gigabyte would be none.
_MOST_ANSWER_BYTES = 1 << 24
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}


def run_keras(
    command: str, model: Path, inputs: tuple[Path, ...] = (), outputs: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """Runs ``describe``, ``convert`` or ``weights``; ``outputs`` are filled besides the returned answer.

    Raises:
        ModelError: The model cannot be loaded or converted, or carries code, which is never run.
        MissingDependencyError: TensorFlow is not installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingDependencyError(
            f"{model.name} is a Keras or SavedModel and TensorFlow is not installed.",
            "Run: pip install 'edgepose[convert]'",
        )
    judge_bytes(model)
    with TemporaryDirectory(prefix="edgepose-") as folder:
        answer = Path(folder) / "answer.json"
        task = LoaderTask(
            what=_WORKER,
            arguments=[command, str(model.resolve()), *(str(path.resolve()) for path in inputs)],
            model=model,
            readable=inputs,
            outputs=(answer, *outputs),
            timeout_s=_TIMEOUT_S,
            changes=_ENVIRONMENT,
        )
        code, said = run_locked(task)
        with answer.open("rb") as stream:
            content = stream.read(_MOST_ANSWER_BYTES)
    if code != 0 or not content:
        raise ModelError(f"TensorFlow could not read {model.name}: {reason_of(code, said)}.")
    result: dict[str, Any] = json.loads(content)
    if "refused" in result:
        raise ModelError(result["refused"], result["hint"])
    if "error" in result:
        raise ModelError(f"{model.name} cannot be used: {result['error']}.")
    return result


def read_arrays(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Reads arrays that a worker wrote; it may have been taken over by the model.

    Raises:
        ModelError: They are not what ``numpy.savez`` writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise ModelError(f"The loader of {name} wrote packed arrays, expected plain ones.")
        with np.load(path, allow_pickle=False) as arrays:
            return {entry: arrays[entry] for entry in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as problem:
        raise ModelError(f"The loader of {name} wrote no arrays: {problem}.") from problem
