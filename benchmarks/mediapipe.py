"""Does BlazePose run here as MediaPipe's own does, and at what cost?

The same weights, the same video, MediaPipe 0.10.21's ``mp.solutions.pose`` (complexity 1, all defaults) in
an environment of its own, which this script makes once under the user's cache. MediaPipe gives XNNPACK one
thread by default on a desktop; edgepose gets one too, and both sides' threads and processor time are measured
rather than assumed. Three questions, each in processes started in turn, in changing order; a ratio is the
median over pairs:

* a frame, from a decoded picture to 33 keypoints, models warm (``frame_ms``, ``cpu_ms``). edgepose leaves out
  the ops of the landmark model that only unread outputs need (a mask, points in metres); ``all_ops`` says
  what the rest is worth with them;
* a cold start: from the start of the process to the first pose in the file, files in the page cache;
* a whole video as a user runs it, reading and writing included: time and processor time, and in runs of
  their own the most memory that all processes of a side had together (PSS: a shared page counts once). Here
  edgepose is ``edgepose-device run``, which reads the video in a process of its own, with another that
  watches it; MediaPipe is the loop of its documentation, in one process.

Agreement is the distance between the keypoints of both, in lengths of the person's torso. It is given
twice: for ``edgepose-device run``, which smooths by the time of the video, and for the clock of
``mp.solutions.pose``, which lets every picture last a 30th of a second whatever the video says.

Usage: python benchmarks/mediapipe.py VIDEO [--models pose_landmark_full.tflite pose_detection.tflite]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from process_memory import peak_pss_mib
from side_environment import side_environment

from edgepose import __version__
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "mediapipe.json"
PEER_VERSION = "0.10.21"
_SIDE = Path(__file__).resolve().parent / "mediapipe_side.py"
_BIN = Path(sys.executable).parent
_POLL_S = 0.001
_MEMORY_ROUNDS = 5
# Of BlazePose's 33: shoulders and hips.
_SHOULDERS, _HIPS = (11, 12), (23, 24)
_SIDES = ("edgepose", "mediapipe")
_ALL_OPS = "edgepose_all_ops"

Figures = dict[str, float]
# Figures of each round, by side.
Samples = dict[str, list[Figures]]


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    python = side_environment("mediapipe", PEER_VERSION)
    models = arguments.models or _wheel_models(python)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(python, arguments.video, models, Path(folder))
        frames = _in_turn(bench.frame, arguments.rounds, (*_SIDES, _ALL_OPS))
        starts = _in_turn(bench.cold_start, arguments.rounds)
        videos = _in_turn(bench.whole_video, arguments.rounds)
        memory = _in_turn(bench.memory, _MEMORY_ROUNDS)
        agreement = bench.agreement()
    result = _result(arguments, models, [frames, starts, videos, memory], agreement)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({k: result[k] for k in ("edgepose", "peer_result", "ratios", "agreement")}, indent=2))


class _Bench:
    """Both sides on one video."""

    def __init__(self, peer_python: Path, video: Path, models: Sequence[Path], folder: Path) -> None:
        self._video = video.resolve()
        self._models = [path.resolve() for path in models]
        self._folder = folder
        self._peer_python = peer_python
        self._run = [
            str(_BIN / "edgepose-device"), "run", str(self._video), "--threads", "1", "--no-telemetry",
            "--model", str(self._models[0]), "--detector", str(self._models[1]),
        ]  # fmt: skip

    def frame(self, side: str) -> Figures:
        """Figures of a warm frame."""
        command = [*self._loop(side, self._lines(f"{side}_clock")), "--passes", "3"]
        figures: Figures = json.loads(_started(command)[0])
        return figures

    def cold_start(self, side: str) -> Figures:
        """Milliseconds from the start of the process to the first pose."""
        output = self._lines("first")
        output.unlink(missing_ok=True)
        command = [*self._whole(side, output), "--max-frames", "1"]
        return {"cold_start_ms": _until_written(command, output)}

    def whole_video(self, side: str) -> Figures:
        """Times of a whole video."""
        output = self._lines(side)
        start_ns = time.monotonic_ns()
        printed, usage = _started(self._whole(side, output))
        wall_ms = (time.monotonic_ns() - start_ns) / 1e6
        frames = len(output.read_text(encoding="utf-8").splitlines())
        report = json.loads(printed)
        loop_ms = report["duration_s"] * 1e3 if side == "edgepose" else report["loop_ms"]
        return {
            "video_frame_ms": loop_ms / frames,
            "video_process_ms": wall_ms,
            "video_process_cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3,
        }

    def memory(self, side: str) -> Figures:
        """The most that all processes had together in a whole video."""
        most_mib, processes = peak_pss_mib(self._whole(side, self._lines(f"{side}_memory")))
        return {"peak_pss_mib": most_mib, "processes": processes}

    def agreement(self) -> dict[str, Any]:
        """Distances between the poses of both sides, from what the measured runs wrote."""
        theirs = _plain_poses(self._lines("mediapipe"))
        ours = [_first_pose(json.loads(line)) for line in _lines_of(self._lines("edgepose"))]
        same_clock = _plain_poses(self._lines("edgepose_clock"))
        return {
            "unit": "torso lengths, from the middle of the shoulders to the middle of the hips",
            "frames": len(theirs),
            "frames_with_pose": {
                "edgepose": sum(pose is not None for pose in ours),
                "mediapipe": sum(pose is not None for pose in theirs),
            },
            "by_the_time_of_the_video": distances(ours, theirs),
            "by_the_clock_of_the_peer": distances(same_clock, _plain_poses(self._lines("mediapipe_clock"))),
        }

    def _whole(self, side: str, output: Path) -> list[str]:
        if side == "edgepose":
            return [*self._run, "--output", str(output), "--force", "--json", "-"]
        return self._loop(side, output)

    def _loop(self, side: str, output: Path) -> list[str]:
        python = self._peer_python if side == "mediapipe" else sys.executable
        models = [] if side == "mediapipe" else ["--models", *map(str, self._models)]
        return [str(python), "-I", str(_SIDE), side, str(self._video), str(output), *models]

    def _lines(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def distances(
    first: Sequence[NDArray[np.float64] | None], second: Sequence[NDArray[np.float64] | None]
) -> Figures:
    """How far apart two programs see the same keypoints, in torso lengths of the second.

    Args:
        first: A pose a frame, (33, 3): x, y, visibility; or None.
        second: The same of the other.

    Raises:
        ValueError: The programs saw different numbers of frames, or never somebody in the same frame.
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not both:
        raise ValueError("there is no frame in which both sides saw somebody")
    apart = [np.hypot(*(a[:, :2] - b[:, :2]).T) / _torso_px(b) for a, b in both]
    visibility = [np.abs(a[:, 2] - b[:, 2]) for a, b in both]
    return {
        "median": round(float(np.median(apart)), 5),
        "p95": round(float(np.percentile(apart, 95)), 5),
        "worst": round(float(np.max(apart)), 5),
        "visibility_median": round(float(np.median(visibility)), 5),
    }


def _torso_px(pose: NDArray[np.float64]) -> float:
    middle = pose[list(_SHOULDERS), :2].mean(axis=0) - pose[list(_HIPS), :2].mean(axis=0)
    return float(np.hypot(*middle))


def _plain_poses(path: Path) -> list[NDArray[np.float64] | None]:
    rows = [json.loads(line) for line in _lines_of(path)]
    return [None if row is None else np.array(row, np.float64) for row in rows]


def _first_pose(line: dict[str, Any]) -> NDArray[np.float64] | None:
    return np.array(line["poses"][0]["keypoints"], np.float64) if line["poses"] else None


def _lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _in_turn(measure: Callable[[str], Figures], rounds: int, sides: Sequence[str] = _SIDES) -> Samples:
    """The sides in turn, in changing order; the first round warms the page cache and does not count."""
    samples: Samples = {side: [] for side in sides}
    for number in range(-1, rounds):
        for side in sides if number % 2 else reversed(sides):
            figures = measure(side)
            if number >= 0:
                samples[side].append(figures)
    return samples


def _started(command: Sequence[str]) -> tuple[str, Any]:
    """Runs a process to its end: what it printed, and what it used."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed with {process.returncode}: {' '.join(command)}")
    return printed, usage


def _until_written(command: Sequence[str], output: Path) -> float:
    """Milliseconds until the output file has a line."""
    start_ns = time.monotonic_ns()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (output.exists() and output.stat().st_size):
            if process.poll() is not None and not output.exists():
                raise SystemExit(f"failed with {process.returncode}: {' '.join(command)}")
            time.sleep(_POLL_S)
        return (time.monotonic_ns() - start_ns) / 1e6


def _wheel_models(python: Path) -> list[Path]:
    where = "import importlib.util as u; print(u.find_spec('mediapipe').submodule_search_locations[0])"
    printed, _ = _started([str(python), "-I", "-c", where])
    modules = Path(printed.strip()) / "modules"
    return [
        modules / "pose_landmark" / "pose_landmark_full.tflite",
        modules / "pose_detection" / "pose_detection.tflite",
    ]


def _peer_packages(python: Path) -> dict[str, str]:
    program = (
        "import importlib.metadata as m, json, platform; "
        "names = ('mediapipe', 'numpy', 'opencv-contrib-python'); "
        "print(json.dumps({'python': platform.python_version(), **{n: m.version(n) for n in names}}))"
    )
    packages: dict[str, str] = json.loads(_started([str(python), "-I", "-c", program])[0])
    return packages


def _result(
    arguments: argparse.Namespace,
    models: Sequence[Path],
    measured: Sequence[Samples],
    agreement: dict[str, Any],
) -> dict[str, Any]:
    import cv2

    names = " ".join(path.name for path in models)
    ratios, all_ops = _ratios(measured, "edgepose"), _ratios(measured, _ALL_OPS)
    return {
        "schema": "edgepose.comparison/1",
        "name": "mediapipe",
        "peer": {"name": "mediapipe mp.solutions.pose, complexity 1", "version": PEER_VERSION},
        "same_work": "the same weights and the same video of one person; detector until somebody is found, "
        "turned crop, landmarks, tracking from landmarks, smoothing; one XNNPACK thread",
        "edgepose": {**_figures(measured, "edgepose"), "all_ops": _figures(measured, _ALL_OPS)},
        "peer_result": _figures(measured, "mediapipe"),
        "ratios": {name: median for name, (_, median, _) in ratios.items()},
        "ratio_quartiles": {name: [low, high] for name, (low, _, high) in ratios.items()},
        "ratios_all_ops": {name: median for name, (_, median, _) in all_ops.items()},
        "agreement": agreement,
        "rounds": arguments.rounds,
        "command": f"python benchmarks/mediapipe.py {arguments.video.name} --models {names} "
        f"--rounds {arguments.rounds}",
        "versions": {
            "edgepose": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average_1_min": round(os.getloadavg()[0], 1),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "peer": _peer_packages(side_environment("mediapipe", PEER_VERSION)),
        },
        "model_sha256": sha256_of_path(models[0]),
        "detector_sha256": sha256_of_path(models[1]),
    }


def _figures(measured: Sequence[Samples], side: str) -> Figures:
    return {
        name: round(statistics.median(sample[name] for sample in samples[side]), 3)
        for samples in measured
        if side in samples
        for name in samples[side][0]
    }


def _ratios(measured: Sequence[Samples], side: str) -> dict[str, list[float]]:
    """Lower quartile, median and upper quartile of the ratios to the peer, by figure."""
    ratios = {}
    for samples in measured:
        for name in samples.get(side, [{}])[0]:
            if "threads" not in name and name != "processes":
                pairs = zip(samples[side], samples["mediapipe"], strict=True)
                values = [own[name] / peer[name] for own, peer in pairs]
                ratios[name] = [round(float(value), 4) for value in np.percentile(values, [25, 50, 75])]
    return ratios


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path, help="one person")
    parser.add_argument("--models", type=Path, nargs=2, help="landmark model and detector, else the wheel's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
