"""What does the lock take of a frame's time?

A process loads a model, estimates all frames of a video in memory and writes their lines, locks itself in as
a run of a camera does, and does the same again. Its pair does all of this without the lock. The second pass
divided by the first, of the one divided by that of the other, is what the lock takes; rounds alternate.
Beside it, what one system call costs before and after. Time is processor time of the whole process.

Usage: python benchmarks/lock_cost.py MODEL VIDEO [--rounds 15] [--frames 120]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from edgepose import __version__
from edgepose.device.capture.file_sources import VideoSource
from edgepose.device.capture.frame_source import Frame
from edgepose.device.output.pose_sink import FrameResult, JsonlSink
from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.sandbox.lock import lock_process
from edgepose.runtime.pipeline import STAGES
from edgepose.sandbox.landlock import landlock_abi
from edgepose.sandbox.python_child import run_words, script_command
from edgepose.trust.digests import sha256_of_file

RESULT = Path(__file__).resolve().parent / "results" / "lock_cost.json"
_CALLS = 100_000
_WARM_UP = 10


def _measure(model: Path, video: Path, frames: int, folder: Path, *, locked: bool) -> dict[str, Any]:
    """One process: both passes, in microseconds of processor time a frame and nanoseconds a call."""
    cv2.setNumThreads(1)
    source = VideoSource(video)
    pictures: list[Frame] = []
    while len(pictures) < frames and (frame := source.read(1.0)) is not None:
        pictures.append(replace(frame, image=frame.image.copy()))
    source.close()
    estimator = open_estimator(EstimatorChoice(model=model, threads=1))
    said: dict[str, Any] = {"frames": len(pictures)}
    with (folder / "byte").open("w+b") as file:
        file.write(b"x")
        file.flush()
        sink = JsonlSink(folder / "poses.jsonl")

        def one(index: int) -> None:
            poses = estimator.estimate(pictures[index].image)
            stages = {stage: estimator.timer.elapsed_ms(stage) for stage in STAGES}
            sink.write(FrameResult(pictures[index], poses, sum(stages.values()), stages))

        for index in range(_WARM_UP):
            one(index)
        for when in ("before", "after"):
            said[f"frame_us_{when}"] = _each(len(pictures), one) / 1e3
            said[f"read_ns_{when}"] = _each(_CALLS, lambda _index: os.pread(file.fileno(), 1, 0))
            said[f"open_ns_{when}"] = _each(
                _CALLS // 10, lambda _index: os.close(os.open(folder, os.O_RDONLY))
            )
            if when == "before" and locked:
                start_ns = time.monotonic_ns()
                said["mechanisms"] = lock_process(writable=(folder,)).mechanisms
                said["locking_ms"] = (time.monotonic_ns() - start_ns) / 1e6
        sink.close(complete=True)
    return said


def _each(count: int, act: Callable[[int], object]) -> float:
    start_ns = time.process_time_ns()
    for index in range(count):
        act(index)
    return (time.process_time_ns() - start_ns) / count


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--side", choices=("locked", "unlocked"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side is not None:
        said = _measure(given.model, given.video, given.frames, given.folder, locked=given.side == "locked")
        print(json.dumps(said))
        return
    pairs = []
    for turn in range(given.rounds):
        sides = ("locked", "unlocked")[:: 1 if turn % 2 else -1]
        pairs.append({side: _side(given, side) for side in sides})
    result = _result(given, pairs)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _side(given: argparse.Namespace, side: str) -> dict[str, Any]:
    files = [str(given.model.resolve()), str(given.video.resolve())]
    # A locked process cannot remove the folder in which it writes.
    with tempfile.TemporaryDirectory() as folder:
        words = [*files, "--frames", str(given.frames), "--side", side, "--folder", folder]
        done = run_words(script_command(Path(__file__).resolve(), words))
    if done.returncode:
        raise SystemExit(done.stderr)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _result(given: argparse.Namespace, pairs: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    def ratios(what: str) -> list[float]:
        return sorted(
            pair["locked"][f"{what}_after"] / pair["locked"][f"{what}_before"]
            / (pair["unlocked"][f"{what}_after"] / pair["unlocked"][f"{what}_before"])
            for pair in pairs
        )  # fmt: skip

    def quartiles(values: list[float], digits: int = 4) -> list[float]:
        return [round(value, digits) for value in statistics.quantiles(values, n=4)]

    def median(side: str, what: str) -> float:
        return round(statistics.median(pair[side][what] for pair in pairs), 1)

    return {
        "schema": "edgepose.lock_cost/1",
        "edgepose": __version__,
        "what": "processor time after the lock by that before, by the same without the lock; median of pairs",
        "frame_ratio": round(statistics.median(ratios("frame_us")), 4),
        "frame_ratio_quartiles": quartiles(ratios("frame_us")),
        "frame_us": {
            "before": median("locked", "frame_us_before"),
            "after": median("locked", "frame_us_after"),
        },
        "read_call_ratio": round(statistics.median(ratios("read_ns")), 3),
        "read_call_ns": {
            "before": median("locked", "read_ns_before"),
            "after": median("locked", "read_ns_after"),
        },
        "open_call_ratio": round(statistics.median(ratios("open_ns")), 3),
        "open_call_ns": {
            "before": median("locked", "open_ns_before"),
            "after": median("locked", "open_ns_after"),
        },
        "locking_ms": median("locked", "locking_ms"),
        "mechanisms": pairs[0]["locked"]["mechanisms"],
        "landlock_abi": landlock_abi(),
        "rounds": len(pairs),
        "frames": pairs[0]["locked"]["frames"],
        "command": f"python benchmarks/lock_cost.py {given.model.name} {given.video.name} "
        f"--rounds {len(pairs)}",
        "versions": {
            "python": platform.python_version(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average_1_min": round(os.getloadavg()[0], 1),
            "opencv": cv2.__version__,
        },
        "model_sha256": sha256_of_file(given.model),
    }


if __name__ == "__main__":
    main()
