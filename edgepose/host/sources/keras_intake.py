"""The way of a Keras file or SavedModel to TensorFlow: judged from its bytes, copied, judged whole.

``judge_bytes`` is what the calling process can do cheaply and in plain Python. ``take_in`` is the first step
of the process that loads the model: it copies what it judges, so that what is loaded is what was judged.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import ModelError
from edgepose.host.sources.hdf5_check import check_hdf5, read_hdf5_config
from edgepose.host.sources.keras_archive import WEIGHTS_NAME, extract_weights, read_archive_config
from edgepose.host.sources.saved_model_check import check_saved_model
from edgepose.inference.model_file import MODEL_LIMIT_BYTES, ModelFormat, detect_format


@dataclass(frozen=True)
class TakenModel:
    """A judged model, in the folder of the process that loads it.

    Attributes:
        format: Told from its content.
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
    """Copies a model and judges the copy, down to every object of its HDF5 file.

    Args:
        path: The model.
        folder: An empty folder of the calling process.

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
