"""ONNX to TFLite through onnx2tf, a subprocess of its own locked environment.

onnx2tf simplifies its input file *in place*, so it only ever sees a copy; and it looks for a calibration
picture that it would download, so one is laid into its working folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgepose.errors import ModelError
from edgepose.host.tools.registry import tool_python

_DRIVER = Path(__file__).with_name("onnx2tf_driver.py")
_SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
_TIMEOUT_S = 1200


def convert_with_onnx2tf(onnx_file: Path) -> bytes:
    """Converts an ONNX file of fixed sizes to float32 TFLite.

    Returns:
        The bytes of the TFLite file; names and signature still have to be finished.

    Raises:
        MissingDependencyError: The side environment is not prepared.
        ModelError: onnx2tf failed.
    """
    python = tool_python("onnx2tf")
    with TemporaryDirectory(prefix="edgepose-onnx2tf-") as folder:
        work = Path(folder)
        copy = work / "model.onnx"
        shutil.copyfile(onnx_file, copy)
        sample = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
        np.save(work / _SAMPLE_NAME, sample)
        environment = {
            **os.environ,
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }
        environment.pop("PYTHONPATH", None)
        call = [str(python), str(_DRIVER), str(copy), str(work / "out")]
        done = subprocess.run(
            call, cwd=work, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        written = work / "out" / "model_float32.tflite"
        if done.returncode or not written.is_file():
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            reason = lines[-1].strip() if lines else f"it ended with code {done.returncode}"
            raise ModelError(f"onnx2tf could not convert the model: {reason[:300]}.")
        return written.read_bytes()
