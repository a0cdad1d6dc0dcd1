"""How long from starting the program to the first pose, and how much memory does it take?

Starts ``edgepose-device run`` on a video with a model file, again and again, each time as a new process with
the files in the page cache, and measures until the first line of poses is in the output file. In turn with
it runs the least program that could do the same with the bare packages: OpenCV opens the video, LiteRT the
model, one resized frame goes through, the maxima are written. The ratio is the median over pairs.
``edgepose --help`` is timed too.

Usage: python benchmarks/cold_start.py MODEL.tflite VIDEO
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgepose import __version__
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "cold_start.json"
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
    pairs = [(_first_pose(device), _first_pose(peer)) for _ in range(arguments.pairs + 1)][1:]
    helps = [_whole_run([str(_BIN / "edgepose"), "--help"]) for _ in range(arguments.pairs + 1)][1:]
    ours, theirs = zip(*pairs, strict=True)
    result = {
        "schema": "edgepose.comparison/1",
        "name": "cold_start",
        "peer": {
            "name": "ai-edge-litert with OpenCV, bare",
            "version": importlib.metadata.version("ai-edge-litert"),
        },
        "same_work": "process start, open the video, load the model, one frame, first pose written; "
        "files in the page cache, 1 thread",
        "edgepose": _figures(ours),
        "peer_result": _figures(theirs),
        "help_s": statistics.median(seconds for seconds, _ in helps),
        "ratios": {
            "cold_start_ms": statistics.median(a[0] / b[0] for a, b in pairs),
            "peak_rss_mib": statistics.median(a[1] / b[1] for a, b in pairs),
        },
        "command": f"python benchmarks/cold_start.py {arguments.model.name} {arguments.video.name}",
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
    parser.add_argument("video", type=Path)
    parser.add_argument("--pairs", type=int, default=15)
    return parser.parse_args()


def _figures(samples: tuple[tuple[float, float], ...]) -> dict[str, float]:
    return {
        "cold_start_ms": statistics.median(seconds for seconds, _ in samples) * 1000,
        "worst_cold_start_ms": max(seconds for seconds, _ in samples) * 1000,
        "peak_rss_mib": max(mib for _, mib in samples),
        "runs": len(samples),
    }


def _first_pose(command: list[str]) -> tuple[float, float]:
    """Seconds until the output file has a line, and the peak memory of the process in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "poses.jsonl"
        start_ns = time.monotonic_ns()
        with subprocess.Popen(
            [*command, str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            while not (output.exists() and output.stat().st_size) and process.poll() is None:
                time.sleep(_POLL_S)
            seconds = (time.monotonic_ns() - start_ns) / 1e9
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            errors = process.stderr.read() if process.stderr else ""
        if process.returncode or not output.stat().st_size:
            raise SystemExit(f"{command[0]} failed: {errors}")
    return seconds, usage.ru_maxrss / 1024


def _whole_run(command: list[str]) -> tuple[float, float]:
    start_ns = time.monotonic_ns()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic_ns() - start_ns) / 1e9, resource.getrusage(
        resource.RUSAGE_CHILDREN
    ).ru_maxrss / 1024


if __name__ == "__main__":
    main()
