"""How long do conversion and int8 quantization take, and how much memory?

Runs the command line as a user does, ``edgepose convert`` and then ``edgepose quantize``, and sums wall time;
memory is the largest process of the whole tree. There is no peer in this run: the figure answers a budget.

Usage: python benchmarks/convert_quantize.py MODEL.onnx SPEC CALIBRATION_DIR
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgepose import __version__
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "convert_quantize.json"
_EDGEPOSE = Path(sys.executable).parent / "edgepose"


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        converted, quantized = Path(folder) / "float.tflite", Path(folder) / "int8.tflite"
        convert_s = _timed(
            "convert", arguments.model, "--to", "tflite", "--spec", arguments.spec, "-o", converted
        )
        quantize_s = _timed(
            "quantize", converted, "--profile", "raspberrypi5", "--recipe", "static_wi8_ai8",
            "--calibration", arguments.calibration, "-o", quantized,
        )  # fmt: skip
        sizes = {"float_bytes": converted.stat().st_size, "int8_bytes": quantized.stat().st_size}
    result = {
        "schema": "edgepose.measurement/1",
        "name": "convert_quantize",
        "convert_s": round(convert_s, 2),
        "quantize_s": round(quantize_s, 2),
        "total_s": round(convert_s + quantize_s, 2),
        # The kernel keeps the largest of all finished children, and theirs, in KiB.
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
        **sizes,
        "command": f"convert_quantize.py {arguments.model.name} {arguments.spec} CALIBRATION_DIR",
        "versions": {
            "edgepose": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "model_sha256": sha256_of_path(arguments.model),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("spec")
    parser.add_argument("calibration", type=Path)
    return parser.parse_args()


def _timed(*arguments: object) -> float:
    start_ns = time.monotonic_ns()
    subprocess.run([str(_EDGEPOSE), *map(str, arguments)], check=True)
    return (time.monotonic_ns() - start_ns) / 1e9


if __name__ == "__main__":
    main()
