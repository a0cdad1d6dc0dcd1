"""Runs every benchmark on one model: converts it, casts it to float16, quantizes it to int8, measures.

Usage: python benchmarks/run_all.py MODEL.onnx SPEC CALIBRATION_DIR VIDEO
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_EDGEPOSE = Path(sys.executable).parent / "edgepose"
_QUANTIZED = (("float16", "bare_interpreter"), ("static_wi8_ai8", "bare_interpreter_int8"))


def main() -> None:
    """Runs the scripts one after the other, so that none disturbs another."""
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    model, spec, calibration, video = sys.argv[1:]
    _script("convert_quantize.py", model, spec, calibration)
    with tempfile.TemporaryDirectory() as folder:
        converted = f"{folder}/float32.tflite"
        _run(_EDGEPOSE, "convert", model, "--to", "tflite", "--spec", spec, "-o", converted)
        for recipe, result in _QUANTIZED:
            output = f"{folder}/{recipe}.tflite"
            _run(
                _EDGEPOSE, "quantize", converted, "--profile", "raspberrypi5", "--recipe", recipe,
                "--calibration", calibration, "-o", output,
            )  # fmt: skip
            _script("bare_interpreter.py", output, "--output", _HERE / "results" / f"{result}.json")
        _script("cold_start.py", f"{folder}/float16.tflite", video)


def _script(name: str, *arguments: object) -> None:
    _run(sys.executable, _HERE / name, *arguments)


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
