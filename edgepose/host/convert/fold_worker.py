"""Has ONNX Runtime fold constants, locked in (ADR 0036).

Arguments: MODEL.onnx, and the descriptor of an open file for the result. ONNX Runtime writes only to a path,
which lies in the process's own folder.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import onnxruntime


def main() -> None:
    """Writes the folded model, or the reason why not as the last line of standard error."""
    source, output = sys.argv[1:]
    folded = Path("folded.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001 - ONNX Runtime's exceptions share no base class but Exception
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rsplit(" : ", 1)[-1]
        sys.exit(reason)
    with folded.open("rb") as stream, os.fdopen(int(output), "wb") as written:
        shutil.copyfileobj(stream, written)


if __name__ == "__main__":
    main()
