"""How long from starting the program to the first pose, and how much memory does it take?

Starts ``edgepose-device run`` on a video with a model file, again and again, each time as new processes with
the files in the page cache, and measures until the first line of poses is in the output file: the capture
process and the one that watches it included. In turn with it runs the least program that could do the same
with the bare packages, in one process: OpenCV opens the video, LiteRT the model, one resized frame goes
through, the maxima are written. The ratio is the median over pairs. Memory is of runs of its own: the most
that all processes of a side had together, by PSS, so that a page that several share counts once.
``edgepose --help`` is timed too.

Usage: python benchmarks/cold_start.py MODEL.tflite VIDEO
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from process_memory import peak_pss_mib

from edgepose import __version__
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "cold_start.json"
_MEMORY_RUNS = 5
_BIN = Path(sys.executable).parent
_POLL_S = 0.001
_PEER = """
import sys, json
import cv2, numpy as np
from ai_edge_litert.interpreter import Interpreter
model, video, output = sys.argv[1:]
net = Interpreter(model, num_threads=1)
net.allocate_tensors()
put, got = net.get_input_details()[0], net.get_output_details()[0]
_, height, width, _ = put["shape"]
_, frame = cv2.VideoCapture(video).read()
picture = cv2.resize(frame, (width, height))[..., ::-1].astype(np.float32) / 255
net.set_tensor(put["index"], picture[None])
net.invoke()
heatmaps = net.get_tensor(got["index"])[0]
with open(output, "w") as stream:
    stream.write(json.dumps(heatmaps.reshape(-1, heatmaps.shape[-1]).argmax(0).tolist()) + "\\n")
"""


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    device = [str(_BIN / "edgepose-device"), "run", str(arguments.video), "--model", str(arguments.model)]
    device += ["--threads", "1", "--max-frames", "1", "--output"]
    peer = [sys.executable, "-c", _PEER, str(arguments.model), str(arguments.video)]
    pairs = [(_first_pose_s(device), _first_pose_s(peer)) for _ in range(arguments.pairs + 1)][1:]
    memory = [(_memory(device), _memory(peer)) for _ in range(_MEMORY_RUNS)]
    helps = [_whole_run_s([str(_BIN / "edgepose"), "--help"]) for _ in range(arguments.pairs + 1)][1:]
    sides = [_figures([pair[i] for pair in pairs], [pair[i] for pair in memory]) for i in (0, 1)]
    times = [own / other for own, other in pairs]
    result = {
        "schema": "edgepose.comparison/1",
        "name": "cold_start",
        "peer": {
            "name": "ai-edge-litert with OpenCV, bare",
            "version": importlib.metadata.version("ai-edge-litert"),
        },
        "same_work": "process start, open the video, load the model, one frame, first pose written; "
        "files in the page cache, 1 thread",
        "edgepose": {"version": __version__, **sides[0]},
        "peer_result": sides[1],
        "help_s": round(statistics.median(helps), 4),
        "ratios": {
            "cold_start_ms": round(statistics.median(times), 4),
            "cold_start_ms_quartiles": [round(float(q), 4) for q in np.percentile(times, [25, 75])],
            "peak_pss_mib": round(statistics.median(own[0] / other[0] for own, other in memory), 4),
        },
        "model_sha256": sha256_of_path(arguments.model),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _figures(seconds: Sequence[float], memory: Sequence[tuple[float, int]]) -> dict[str, float]:
    return {
        "cold_start_ms": round(statistics.median(seconds) * 1000, 1),
        "worst_cold_start_ms": round(max(seconds) * 1000, 1),
        "peak_pss_mib": round(statistics.median(mib for mib, _ in memory), 1),
        "processes": max(count for _, count in memory),
        "runs": len(seconds),
    }


def _first_pose_s(command: Sequence[str]) -> float:
    """Seconds until the output file has a line."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "poses.jsonl"
        start_ns = time.monotonic_ns()
        with subprocess.Popen(
            [*command, str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            while not (output.exists() and output.stat().st_size) and process.poll() is None:
                time.sleep(_POLL_S)
            seconds = (time.monotonic_ns() - start_ns) / 1e9
            _, errors = process.communicate()
        if process.returncode or not output.stat().st_size:
            raise SystemExit(f"{command[0]} failed: {errors}")
    return seconds


def _memory(command: Sequence[str]) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        return peak_pss_mib([*command, str(Path(folder) / "poses.jsonl")])


def _whole_run_s(command: Sequence[str]) -> float:
    start_ns = time.monotonic_ns()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic_ns() - start_ns) / 1e9


if __name__ == "__main__":
    main()
