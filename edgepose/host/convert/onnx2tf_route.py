"""ONNX to TFLite through onnx2tf: an environment of its own, in a process that is locked in (ADR 0036).

onnx2tf simplifies its input file *in place*, so it only ever sees a copy; and it looks for a calibration
picture that it would download, so one is laid into its working folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.convert.parity import Outputs, match_outputs
from edgepose.host.sources.locked_backend import LockedBackend
from edgepose.host.sources.locked_loader import LoaderTask, reason_of, run_locked
from edgepose.host.tools.registry import tool_python
from edgepose.inference.backend import Backend, run_once

_DRIVER = Path(__file__).with_name("onnx2tf_driver.py")
_SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
_TIMEOUT_S = 1200


def convert_with_onnx2tf(onnx_file: Path) -> bytes:
    """Converts an ONNX file of fixed sizes to float32 TFLite.

    onnx2tf's fast mode is tried first and its result compared with the ONNX file on random values; its
    careful mode, which takes three times as long, only where the fast one fails.

    Returns:
        The bytes of the TFLite file; names and signature still have to be finished.

    Raises:
        MissingDependencyError: The side environment is not prepared.
        ModelError: onnx2tf failed.
    """
    # Not resolved: the environment's python is a link to the one that it was made from.
    python = tool_python("onnx2tf").absolute()
    with TemporaryDirectory(prefix="edgepose-onnx2tf-") as folder:
        work = Path(folder)
        copy = work / "model.onnx"
        shutil.copyfile(onnx_file, copy)
        sample = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
        np.save(work / _SAMPLE_NAME, sample)
        try:
            fast = _run_driver(python, copy, work / "fast.tflite", "fast")
            refuse_other_values(onnx_file, fast)
        except ModelError:
            # Not a fallback to something worse: the careful result is compared by the caller as well.
            return _run_driver(python, copy, work / "careful.tflite", "careful").read_bytes()
        return fast.read_bytes()


def refuse_other_values(onnx_file: Path, tflite_file: Path) -> None:
    """Compares both files on two random inputs.

    Raises:
        ModelError: The TFLite file does not load or computes something else.
    """
    parent, child = LockedBackend(onnx_file), LockedBackend(tflite_file)
    stored = np.random.default_rng(0).standard_normal((2, *parent.input.shape), dtype=np.float32)
    moved = stored
    if child.input.shape != parent.input.shape:
        if stored.ndim != 5:
            raise ModelError(f"The input became {child.input.shape}, expected {parent.input.shape}.")
        moved = np.ascontiguousarray(stored.transpose(0, 1, 3, 4, 2))
    match_outputs(_run(parent, stored), _run(child, moved))


def _run(backend: Backend, inputs: NDArray[np.float32]) -> Outputs:
    runs = [run_once(backend, values) for values in inputs]
    names = [info.name for info in backend.outputs]
    return {name: np.stack([run[i] for run in runs]) for i, name in enumerate(names)}


def _run_driver(python: Path, source: Path, output: Path, mode: str) -> Path:
    task = LoaderTask(
        what=str(_DRIVER),
        arguments=[str(source), str(source.with_name(_SAMPLE_NAME)), mode],
        model=source,
        readable=(source.with_name(_SAMPLE_NAME), python.parent.parent, _DRIVER),
        outputs=(output,),
        timeout_s=_TIMEOUT_S,
        changes={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        python=python,
    )
    code, said = run_locked(task)
    if code or output.stat().st_size == 0:
        raise ModelError(f"onnx2tf could not convert the model: {reason_of(code, said)}.")
    return output
