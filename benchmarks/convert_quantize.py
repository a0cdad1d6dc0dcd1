"""How long do conversion and int8 quantization take, and how much memory?

Runs the command line as a user does, ``edgepose convert`` and then ``edgepose quantize``, and sums wall time.
Then both once more, watched: memory is the most that all processes of a command had together (PSS). There is
no peer in this run: the figure answers a budget.

Usage: python benchmarks/convert_quantize.py MODEL.onnx SPEC CALIBRATION_DIR [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from process_memory import peak_pss_mib

RESULT = Path(__file__).resolve().parent / "results" / "convert_quantize.json"
_EDGEPOSE = Path(sys.executable).parent / "edgepose"


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        converted, quantized = Path(folder) / "float.tflite", Path(folder) / "int8.tflite"
        convert = _command(
            "convert", arguments.model, "--to", "tflite", "--spec", arguments.spec, "-o", converted, "--force"
        )
        quantize = _command(
            "quantize", converted, "--profile", "raspberrypi5", "--recipe", "static_wi8_ai8",
            "--calibration", arguments.calibration, "-o", quantized, "--force",
        )  # fmt: skip
        seconds = [(_timed(convert), _timed(quantize)) for _ in range(arguments.rounds)]
        memory = {"convert": peak_pss_mib(convert)[0], "quantize": peak_pss_mib(quantize)[0]}
        sizes = {"float_bytes": converted.stat().st_size, "int8_bytes": quantized.stat().st_size}
    result = {
        "schema": "edgepose.measurement/1",
        "name": "convert_quantize",
        "convert_s": round(statistics.median(one for one, _ in seconds), 2),
        "quantize_s": round(statistics.median(other for _, other in seconds), 2),
        "total_s": round(statistics.median(map(sum, seconds)), 2),
        "rounds": len(seconds),
        "peak_pss_mib": {name: round(mib, 1) for name, mib in memory.items()},
        **sizes,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("spec")
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _command(*words: object) -> list[str]:
    return [str(_EDGEPOSE), *map(str, words)]


def _timed(command: Sequence[str]) -> float:
    start_ns = time.monotonic_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.monotonic_ns() - start_ns) / 1e9


if __name__ == "__main__":
    main()
