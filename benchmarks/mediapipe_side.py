"""One side of ``mediapipe.py``: the same loop around either program, started as a process of its own.

It must run in MediaPipe's environment too, so it imports nothing of edgepose but for that side, and it is
started with ``python -I``, which keeps this folder, and the script in it that is called mediapipe, off the
path.

Usage: python -I benchmarks/mediapipe_side.py SIDE VIDEO OUTPUT.jsonl [--passes N] [--models LANDMARK_MODEL
DETECTOR], where SIDE is edgepose, edgepose_all_ops (which computes the unread outputs too) or mediapipe.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

# A thread that does less than this share of the work waits or hands over.
_BUSY_SHARE = 0.05

Estimate = Callable[[Any], "list[list[float]] | None"]


def main() -> None:
    """Estimates a video and prints figures as JSON."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    all_ops = arguments.side == "edgepose_all_ops"
    estimate = (
        _mediapipe() if arguments.side == "mediapipe" else _edgepose(*arguments.models, all_ops=all_ops)
    )
    if arguments.passes:
        figures = _pictures(estimate, arguments.video, arguments.output, arguments.passes)
    else:
        figures = _whole_video(estimate, arguments.video, arguments.output, arguments.max_frames)
    print(json.dumps(figures))


def _mediapipe() -> Estimate:
    # By name: the type checker would take this folder's own mediapipe.py for it.
    pose = importlib.import_module("mediapipe").solutions.pose.Pose(model_complexity=1)

    def estimate(picture: Any) -> list[list[float]] | None:
        found = pose.process(picture).pose_landmarks
        height, width = picture.shape[:2]
        if not found:
            return None
        return [[point.x * width, point.y * height, point.visibility] for point in found.landmark]

    return estimate


def _edgepose(model: Path, detector: Path, *, all_ops: bool) -> Estimate:
    from edgepose.device.run.blazepose import BlazePoseDetector, BlazePoseEstimator
    from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
    from edgepose.runtime.model_file import load_spec
    from edgepose.runtime.open_model import open_backend

    if all_ops:
        finder = BlazePoseDetector(open_backend(detector), load_spec(detector))
        estimator: Any = BlazePoseEstimator(open_backend(model), load_spec(model), finder)
    else:
        estimator = open_estimator(EstimatorChoice(model=model, detector=detector, threads=1))
    # Any number above 1: the detector looks only where nobody is followed.
    estimator.detect_every = 10
    estimator.take_smoothing()

    def estimate(picture: Any) -> list[list[float]] | None:
        # Without a time the clock goes on by a 30th of a second a picture, as in mp.solutions.pose.
        poses = estimator.estimate(picture)
        if not len(poses):
            return None
        points, scores = poses.keypoints_px[0].tolist(), poses.keypoint_scores[0].tolist()
        return [[*point, score] for point, score in zip(points, scores, strict=True)]

    return estimate


def _pictures(estimate: Estimate, video: Path, output: Path, passes: int) -> dict[str, Any]:
    """Figures of a frame from a decoded picture to keypoints, after a pass of warming up."""
    capture, pictures = cv2.VideoCapture(str(video)), []
    while (frame := capture.read())[0]:
        pictures.append(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB))
    output.write_text("".join(json.dumps(estimate(picture)) + "\n" for picture in pictures), encoding="utf-8")
    before, cpu_s, wall_ms = _thread_ticks(), time.process_time(), []
    for picture in pictures * passes:
        start_ns = time.monotonic_ns()
        estimate(picture)
        wall_ms.append((time.monotonic_ns() - start_ns) / 1e6)
    cpu_s = time.process_time() - cpu_s
    ticks = {thread: count - before.get(thread, 0) for thread, count in _thread_ticks().items()}
    return {
        "frame_ms": statistics.median(wall_ms),
        "fastest_frame_ms": min(wall_ms),
        "cpu_ms": cpu_s * 1e3 / len(wall_ms),
        "threads": len(ticks),
        "busy_threads": sum(count > _BUSY_SHARE * sum(ticks.values()) for count in ticks.values()),
    }


def _whole_video(estimate: Estimate, video: Path, output: Path, max_frames: int) -> dict[str, Any]:
    """The plain loop of a user: read a frame, estimate, write a line."""
    capture, frames, start_ns = cv2.VideoCapture(str(video)), 0, time.monotonic_ns()
    with output.open("w", encoding="utf-8") as lines:
        while (not max_frames or frames < max_frames) and (frame := capture.read())[0]:
            lines.write(json.dumps(estimate(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB))) + "\n")
            lines.flush()
            frames += 1
    return {"frames": frames, "loop_ms": (time.monotonic_ns() - start_ns) / 1e6}


def _thread_ticks() -> dict[str, int]:
    """Processor time of each thread so far, in the kernel's ticks (proc(5): utime and stime)."""
    ticks = {}
    for thread in Path("/proc/self/task").iterdir():
        fields = (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks[thread.name] = int(fields[11]) + int(fields[12])
    return ticks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("side", choices=("edgepose", "edgepose_all_ops", "mediapipe"))
    parser.add_argument("video", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--passes", type=int, default=0, help="0 takes the video once, as a user would")
    parser.add_argument("--max-frames", type=int, default=0)
    parser.add_argument("--models", type=Path, nargs=2, default=[], help="landmark model and detector")
    return parser.parse_args()


if __name__ == "__main__":
    main()
