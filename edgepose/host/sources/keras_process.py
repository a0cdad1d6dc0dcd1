"""Runs ``keras_worker.py``, locked in, and turns its ending into one of edgepose's errors."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.sources.keras_intake import judge_bytes
from edgepose.host.sources.locked_loader import LoaderTask, reason_of, run_locked

_WORKER = "edgepose.host.sources.keras_worker"
_TIMEOUT_S = 900
# A description of layers; a file of a gigabyte would be none.
_MOST_ANSWER_BYTES = 1 << 24
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}


def run_keras(
    command: str, model: Path, inputs: tuple[Path, ...] = (), outputs: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """Runs one command of the worker.

    Args:
        command: ``describe``, ``convert`` or ``weights``.
        model: The Keras file or SavedModel.
        inputs: Files that it reads besides.
        outputs: Files that it fills besides its answer.

    Returns:
        The worker's answer.

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

    Args:
        path: A file that it filled.
        name: The model's.

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
