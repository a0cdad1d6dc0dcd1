"""What do telemetry and drift take of a frame's time?

A video goes through an installed model, read, followed, smoothed and written as JSON lines as `edgepose run`
does it: that is the frame's time, with the models' part of it beside it. The results of these frames then go
into the sinks that `edgepose run` and the service open, again and again, as a camera of 30 frames a second
would give them: drift looks at a frame every two seconds and judges every five minutes; telemetry counts
every frame, and what its thread does once a minute (SQLite, flushed to the disk, and the Prometheus file) is
spread over the minute's frames. Time is processor time; waiting for the disk is shown beside it and holds no
frame up. The root is copied first and not changed.

Usage: python benchmarks/telemetry_cost.py ROOT VIDEO [--drift] [--rounds 21]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from edgepose import __version__
from edgepose.device.capture.file_sources import VideoSource
from edgepose.device.capture.frame_source import Frame
from edgepose.device.events import EventBus
from edgepose.device.install.installed import read_status
from edgepose.device.monitor.drift_sink import DriftChoice, DriftOptions, open_drift
from edgepose.device.monitor.recorder import Recorder
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from edgepose.device.monitor.telemetry_sink import TelemetrySink
from edgepose.device.monitor.window import Window
from edgepose.device.output.pose_sink import FrameResult, JsonlSink, PoseSink
from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.run.frame_estimator import PoseEstimator
from edgepose.device.run.loop import DETECT_EVERY, LoopControl, run_source
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.tracking import OksTracker
from edgepose.runtime.pipeline import STAGES

RESULT = Path(__file__).resolve().parent / "results" / "telemetry_cost.json"
_CAMERA_FPS = 30
_MINUTE_FRAMES = 60 * _CAMERA_FPS
# Two windows of drift.
_MINUTES = 11
_BUDGET_SHARE = 0.01


@dataclass(frozen=True)
class _Round:
    """Microseconds of processor time; the minute's on the clock in milliseconds too."""

    frame_us: float
    models_us: float
    counting_us: float
    minute_us: float
    minute_clock_ms: float
    drift_us: float | None

    @property
    def telemetry_us(self) -> float:
        """A frame's part of everything that telemetry does."""
        return self.counting_us + self.minute_us / _MINUTE_FRAMES

    @property
    def share(self) -> float:
        """Of a frame's time."""
        return self.together_us / self.frame_us

    @property
    def together_us(self) -> float:
        """Of telemetry, and of drift where it was measured."""
        return self.telemetry_us + (self.drift_us or 0.0)


class _Bench:
    """One root, one video."""

    def __init__(self, root: Path, video: Path, folder: Path) -> None:
        self._folder, self._root = folder, folder / "root"
        shutil.copytree(root, self._root, symlinks=True)
        source = VideoSource(video)
        self._video = video
        self._frames: list[Frame] = []
        while (frame := source.read(1.0)) is not None:
            self._frames.append(replace(frame, image=frame.image.copy()))
        source.close()
        self.size_wh = self._frames[0].size_wh
        self._results = self._estimate()[1]
        self.persons = statistics.mean(len(result.poses) for result in self._results)

    def measure(self, *, with_drift: bool) -> _Round:
        """Everything once."""
        frame_us = self._run()
        models_us, self._results = self._estimate()
        quiet: Callable[[str], None] = lambda _line: None  # noqa: E731
        # With hours between its minutes, the sink's own thread does nothing meanwhile.
        counting_us = self._fed(TelemetrySink(self._root, quiet))
        minute_us, minute_clock_ms = self._minute()
        drift_us = self._drift_us(quiet) if with_drift else None
        return _Round(frame_us, models_us, counting_us, minute_us, minute_clock_ms, drift_us)

    def _drift_us(self, quiet: Callable[[str], None]) -> float:
        with ExitStack() as opened:
            return self._fed(open_drift(DriftChoice(self._root), EventBus(), quiet, opened))

    def _run(self) -> float:
        """A frame's time in microseconds, of all threads."""
        estimator = self._estimator()
        estimator.estimate(self._frames[0].image)
        source, sink = VideoSource(self._video), JsonlSink(self._folder / "poses.jsonl")
        control = LoopControl(overlapped=True, smoother=PoseSmoother())
        start_ns = time.process_time_ns()
        run_source(source, estimator, OksTracker(), [sink], control)
        spent_us = (time.process_time_ns() - start_ns) / 1e3
        sink.close(complete=True)
        source.close()
        return spent_us / len(self._frames)

    def _estimator(self) -> PoseEstimator:
        estimator = open_estimator(EstimatorChoice(root=self._root, threads=1))
        estimator.detect_every = DETECT_EVERY
        return estimator

    def _estimate(self) -> tuple[float, list[FrameResult]]:
        """The models' time a frame in microseconds, and all results."""
        estimator = self._estimator()
        results, times = [], []
        for frame in self._frames:
            start_ns = time.thread_time_ns()
            poses = estimator.estimate(frame.image)
            times.append((time.thread_time_ns() - start_ns) / 1e3)
            stages = {stage: estimator.timer.elapsed_ms(stage) for stage in STAGES}
            results.append(FrameResult(frame, poses, sum(stages.values()), stages))
        # The first frames warm up.
        return statistics.mean(times[5:]), results

    def _fed(self, sink: PoseSink) -> float:
        """Microseconds a frame of so many minutes."""
        count = _MINUTES * _MINUTE_FRAMES
        # As a live camera gives them, and ready before the time is taken.
        results = [
            replace(self._results[index % len(self._results)], scene_time_ns=index * 10**9 // _CAMERA_FPS)
            for index in range(count)
        ]
        start_ns = time.thread_time_ns()
        for result in results:
            sink.write(result)
        spent_us = (time.thread_time_ns() - start_ns) / 1e3
        sink.close(complete=True)
        return spent_us / count

    def _minute(self) -> tuple[float, float]:
        """What storing a minute takes: microseconds of the processor, milliseconds on the clock."""
        root = self._folder / "minutes"
        root.mkdir(exist_ok=True)
        recorder = Recorder(TelemetryPlace(root), StoreLimits(), print)
        spent_us, clock_ms = [], []
        for minute in range(30):
            window = Window(f"2026-01-01T00:{minute:02}:00Z")
            for index in range(_MINUTE_FRAMES):
                window.count(self._results[index % len(self._results)])
            window.duration_s = 60.0
            start_ns, start_clock_ns = time.thread_time_ns(), time.monotonic_ns()
            recorder.record(window, [])
            spent_us.append((time.thread_time_ns() - start_ns) / 1e3)
            clock_ms.append((time.monotonic_ns() - start_clock_ns) / 1e6)
        recorder.close()
        # The first one makes the file.
        return statistics.mean(spent_us[1:]), statistics.mean(clock_ms[1:])


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="device root with an installed model")
    parser.add_argument("video", type=Path)
    parser.add_argument("--drift", action="store_true", help="measure drift too")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(arguments.root, arguments.video, Path(folder))
        rounds = [bench.measure(with_drift=arguments.drift) for _ in range(arguments.rounds)]
    result = _result(arguments, bench, rounds)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _result(arguments: argparse.Namespace, bench: _Bench, rounds: list[_Round]) -> dict[str, Any]:
    def median(value_of: Callable[[_Round], float], digits: int = 2) -> float:
        return round(statistics.median(map(value_of, rounds)), digits)

    shares = sorted(one.share for one in rounds)
    return {
        "schema": "edgepose.telemetry_cost/1",
        "edgepose": __version__,
        "what": "processor time a frame, medians of rounds; drift, where measured, looks at one frame in "
        f"{DriftOptions().window_s / DriftOptions().samples * _CAMERA_FPS:.0f}",
        "frame_us": median(lambda r: r.frame_us, 1),
        "models_us": median(lambda r: r.models_us, 1),
        "telemetry_us": median(lambda r: r.telemetry_us),
        "of_it": {
            "counting_us": median(lambda r: r.counting_us),
            "storing_a_minute_us": median(lambda r: r.minute_us, 1),
            "storing_a_minute_on_the_clock_ms": median(lambda r: r.minute_clock_ms),
        },
        "drift_us": median(lambda r: r.drift_us or 0.0) if arguments.drift else None,
        "share_of_a_frame": {
            "telemetry": median(lambda r: r.telemetry_us / r.frame_us, 5),
            "drift": median(lambda r: (r.drift_us or 0.0) / r.frame_us, 5) if arguments.drift else None,
            "together": median(lambda r: r.share, 5),
            "least_and_most": [round(shares[0], 5), round(shares[-1], 5)],
            "budget": _BUDGET_SHARE,
        },
        "share_of_the_models": median(lambda r: r.share * r.frame_us / r.models_us, 5),
        "share_of_the_camera_interval": median(lambda r: r.together_us * _CAMERA_FPS / 1e6, 6),
        "video": {"size_wh": list(bench.size_wh), "persons_a_frame": round(bench.persons, 2)},
        "rounds": len(rounds),
        "command": f"python benchmarks/telemetry_cost.py ROOT {arguments.video.name} "
        f"{'--drift ' if arguments.drift else ''}--rounds {len(rounds)}",
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average_1_min": round(os.getloadavg()[0], 1),
            "sqlite": sqlite3.sqlite_version,
            "opencv": cv2.__version__,
        },
        "model_sha256": read_status(arguments.root).model_sha256,
    }


if __name__ == "__main__":
    main()
