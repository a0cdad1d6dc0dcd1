"""The other end of ``locked_backend``: opens a model, then answers input values with output values.

Arguments: MODEL THREADS. Standard input and output are pipes; the first line out describes the model.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgepose.errors import EdgeposeError
from edgepose.runtime.backend import Backend, Tensor, TensorInfo
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.sandbox.loader_lock import seal_writing


def main() -> None:
    """Serves until its input ends."""
    # What a runtime prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    seal_writing()
    try:
        backend = open_backend(Path(sys.argv[1]), RuntimeOptions(threads=int(sys.argv[2])))
    except EdgeposeError as problem:
        _say(answers, _told(problem))
        return
    _say(
        answers,
        {
            "input": _described(backend.input),
            "outputs": [_described(info) for info in backend.outputs],
            "info": asdict(backend.info),
        },
    )
    serve(backend, sys.stdin.buffer, answers)


def serve(backend: Backend, inputs: IO[bytes], answers: IO[bytes]) -> None:
    """Answers each input with the shapes of the outputs as a line, then their values."""
    values = np.empty(backend.input.shape, backend.input.dtype)

    def write(tensor: Tensor) -> None:
        np.copyto(tensor, values, casting="no")

    while True:
        content = inputs.read(values.nbytes)
        if len(content) < values.nbytes:
            return
        values[...] = np.frombuffer(content, values.dtype).reshape(values.shape)
        try:
            backend.load_input(write)
            backend.invoke()
            outputs = backend.read_outputs()
        except EdgeposeError as problem:
            _say(answers, _told(problem))
            continue
        _say(answers, {"shapes": [list(output.shape) for output in outputs]})
        for info, output in zip(backend.outputs, outputs, strict=True):
            answers.write(np.ascontiguousarray(output, info.dtype).tobytes())
        answers.flush()


def _described(info: TensorInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "shape": [int(size) for size in info.shape],
        "dtype": info.dtype.str,
        "scale": float(info.scale),
        "zero_point": int(info.zero_point),
    }


def _told(problem: EdgeposeError) -> dict[str, str]:
    return {"error": problem.message, "hint": problem.hint, "family": type(problem).__name__}


def _say(answers: IO[bytes], words: dict[str, Any]) -> None:
    answers.write(json.dumps(words).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
