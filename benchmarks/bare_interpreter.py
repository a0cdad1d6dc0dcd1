"""What does edgepose cost on top of the model itself?

Compares one person's whole frame (preprocess, inference, decode, from a decoded picture to keypoints in
its pixels) with nothing but ``Interpreter.invoke`` of the same file, the same number of threads and the
same input values. Both are measured in turn, in changing order, and the ratio is the median over pairs,
so that a busy machine disturbs both alike.

Usage: python benchmarks/bare_interpreter.py MODEL.tflite [--spec FILE.toml]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import __version__
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.runtime.pipeline import STAGES, PosePipeline
from edgepose.runtime.preprocess import Preprocessor
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "bare_interpreter.json"
_WARM_UP = 10
_FRAME_WH = (640, 480)
_BOX_XYXY_PX = (200.0, 60.0, 420.0, 460.0)


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    spec = load_spec(arguments.model, arguments.spec)
    backend = open_backend(arguments.model, RuntimeOptions(arguments.threads))
    pipeline = PosePipeline(backend, spec)
    image, box = _picture(), np.array([_BOX_XYXY_PX], np.float32)
    preprocessor = Preprocessor(spec.input, backend.input)
    values = np.empty(backend.input.shape, backend.input.dtype)
    preprocessor.write(image, preprocessor.transform_for(image, box[0]), values)
    peer = _Peer(arguments.model, arguments.threads, values)
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def frame() -> None:
        pipeline.timer.reset()
        pipeline.estimate(image, box)
        for stage in STAGES:
            stages[stage].append(pipeline.timer.elapsed_ms(stage))

    decoded = image.copy()

    def decode() -> None:
        # Each frame has just been written by its decoder, so it is in the cache; the model's weights,
        # which ran since, would have driven an old one out.
        np.copyto(image, decoded)

    own_ms, peer_ms = _paired((decode, frame), (peer.restore_input, peer.invoke), arguments.pairs)
    pipeline.estimate(image, box)
    agreement = _agreement(backend.read_outputs(), peer.outputs())
    result = _result(arguments, own_ms, peer_ms, stages, agreement)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("edgepose", "peer_result", "ratios")}, indent=2))


class _Peer:
    """The runtime alone."""

    def __init__(self, model: Path, threads: int, values: NDArray[Any]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=os.fspath(model), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._values = values
        self.restore_input()

    def restore_input(self) -> None:
        """Outside the measured time: some models use the input's memory again."""
        self._interpreter.set_tensor(self._input, self._values)

    def invoke(self) -> None:
        self._interpreter.invoke()

    def outputs(self) -> list[NDArray[Any]]:
        self.restore_input()
        self.invoke()
        return [self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details()]


Step = Callable[[], None]


def _paired(
    first: tuple[Step, Step], second: tuple[Step, Step], pairs: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of both, measured one after the other, each going first half of the time.

    Of each, what comes before (its data arrives) is not measured, only what follows.
    """
    times: tuple[list[float], list[float]] = ([], [])
    both = (first, second)
    for pair in range(-_WARM_UP, pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            arrive, work = both[which]
            arrive()
            start_ns = time.monotonic_ns()
            work()
            elapsed_ms = (time.monotonic_ns() - start_ns) / 1e6
            if pair >= 0:
                times[which].append(elapsed_ms)
    return times


def _picture() -> NDArray[np.uint8]:
    """A decoded frame; what it shows does not matter for time."""
    width, height = _FRAME_WH
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)


def _agreement(own: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Both ran the same input: their raw outputs must be the same."""
    differences = [
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        for a, b in zip(own, other, strict=True)
    ]
    return {"max_output_difference": max(differences)}


def _result(
    arguments: argparse.Namespace,
    own_ms: list[float],
    peer_ms: list[float],
    stages: dict[str, list[float]],
    agreement: dict[str, Any],
) -> dict[str, Any]:
    ratios = [own / other for own, other in zip(own_ms, peer_ms, strict=True)]
    version = importlib.metadata.version("ai-edge-litert")
    return {
        "schema": "edgepose.comparison/1",
        "name": "bare_interpreter",
        "peer": {"name": "ai-edge-litert Interpreter.invoke", "version": version},
        "same_work": (
            "Same file, threads and input values, one person. edgepose: from a decoded "
            f"{_FRAME_WH[0]}x{_FRAME_WH[1]} picture, just written, to keypoints in its pixels. Peer: "
            "invoke alone, with its input already in place and its output not read."
        ),
        "edgepose": {
            "version": __version__,
            **_summary(own_ms),
            "stages_ms": {
                stage: round(statistics.median(times[-len(own_ms) :]), 4) for stage, times in stages.items()
            },
        },
        "peer_result": _summary(peer_ms),
        "ratios": {
            "frame_ms": round(statistics.median(ratios), 4),
            "frame_ms_quartiles": [round(float(q), 4) for q in np.percentile(ratios, [25, 75])],
            "cold_start_ms": None,
            "peak_rss_mib": None,
        },
        "agreement": agreement,
        "pairs": len(own_ms),
        "threads": arguments.threads,
        "command": f"benchmarks/bare_interpreter.py {arguments.model.name} --threads {arguments.threads}",
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "opencv-python-headless")},
        },
        "model_sha256": sha256_of_path(arguments.model),
    }


def _summary(times_ms: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(times_ms, [50, 95])
    return {"frame_ms": round(float(p50), 4), "frame_ms_p95": round(float(p95), 4)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="edgepose's frame against the interpreter's invoke alone.")
    parser.add_argument("model", type=Path, help="TFLite pose model that works on crops")
    parser.add_argument("--spec", type=Path, help="spec of a model that carries none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
