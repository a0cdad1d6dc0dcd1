"""Runs ``keras_worker.py`` and turns its ending into one of edgepose's errors."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.sources.keras_config import refuse_code_in_keras
from edgepose.sandbox.python_child import run_python

_WORKER = "edgepose.host.sources.keras_worker"
_TIMEOUT_S = 900


def run_keras(command: str, model: Path, *files: Path) -> dict[str, Any]:
    """Runs one command of the worker.

    Args:
        command: ``describe`` or ``convert``.
        model: The Keras file or SavedModel.
        files: The command's further files.

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
    refuse_code_in_keras(model)
    with TemporaryDirectory(prefix="edgepose-") as folder:
        answer = Path(folder) / "answer.json"
        # The worker runs in a folder of its own, so no path may be relative.
        paths = [str(path.resolve()) for path in (model, answer, *files)]
        changes = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "KERAS_BACKEND": "tensorflow",
        }
        try:
            done = run_python(_WORKER, [command, *paths], cwd=folder, changes=changes, timeout_s=_TIMEOUT_S)
        except subprocess.TimeoutExpired as problem:
            raise ModelError(f"TensorFlow did not finish {model.name} within {_TIMEOUT_S} s.") from problem
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            raise ModelError(f"TensorFlow could not read {model.name}: {last[:300]}.")
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in result:
        raise ModelError(f"{model.name} cannot be used: {result['error']}.")
    return result
