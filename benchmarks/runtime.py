"""What does the whole runtime cost on top of the model, and does it keep its slowest stage busy?

A video goes through ``run_source`` as ``edgepose run --output`` does it: read in a process of its own,
models, tracking, smoothing, JSON lines. In turn with it run, on the same frames: each stage alone (reading
the video; the models on decoded frames; tracking, smoothing and writing of ready poses), and nothing but the
interpreter's ``invoke`` as often as there are frames. All are measured many times in changing order: figures
are medians of ratios between neighbours, with the ratio of the fastest beside them. Where other programs use
the machine too, threads wait for a core, and time on the clock says little about overlapping; so processor
time is given as well: that of the thread of the models is what a frame costs at least once each thread has
its own core.

Two further questions: what one more person costs (one to five boxes), and how long it takes from the start of
the program to the first line.

Usage: python benchmarks/runtime.py MODEL.tflite VIDEO
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import __version__
from edgepose.device.capture.file_sources import VideoSource
from edgepose.device.capture.frame_source import Frame, SourceInfo
from edgepose.device.capture.source_address import parse_source
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.output.pose_sink import JsonlSink
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.device.run.loop import LoopControl, run_source
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.stages import Estimated, ResultStage
from edgepose.device.run.tracking import OksTracker
from edgepose.runtime.open_model import RuntimeOptions, open_backend, open_pipeline
from edgepose.runtime.pipeline import STAGES
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "runtime.json"
_BIN = Path(sys.executable).parent
_MOST_PERSONS = 5
Image = NDArray[np.uint8]


class _Memory:
    """Decoded frames as a source."""

    def __init__(self, images: list[Image], fps: float) -> None:
        self._images = images
        self._fps = fps
        self._index = 0

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("memory", live=False, fps=self._fps, frame_count=len(self._images))

    @property
    def ended(self) -> bool:
        return self._index >= len(self._images)

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002 (nothing to wait for)
        if self.ended:
            return None
        self._index += 1
        image = self._images[self._index - 1]
        return Frame(image, time.monotonic_ns(), self._index - 1)

    def close(self) -> None:
        self._index = len(self._images)


class _Bench:
    """Everything that is measured, on one model and one video."""

    def __init__(self, model: Path, video: Path, threads: int, folder: Path) -> None:
        self._model, self._video, self._threads = model, video, threads
        self._output = folder / "poses.jsonl"
        source = VideoSource(video)
        self._fps = source.info.fps or 30.0
        self.images: list[Image] = []
        while (frame := source.read(1.0)) is not None:
            self.images.append(frame.image.copy())
        source.close()
        self._backend = open_backend(model, RuntimeOptions(threads))
        self._estimated = self._estimate_all()

    def _captured(self) -> SupervisedSource:
        return SupervisedSource(parse_source(str(self._video))).opened()

    def _estimator(self) -> FrameEstimator:
        return FrameEstimator(open_pipeline(self._model, None, RuntimeOptions(self._threads)))

    def _estimate_all(self) -> list[Estimated]:
        estimator, all_of_them = self._estimator(), []
        for index, image in enumerate(self.images):
            poses = estimator.estimate(image)
            stages = {stage: estimator.timer.elapsed_ms(stage) for stage in STAGES}
            frame = Frame(image, time.monotonic_ns(), index)
            all_of_them.append(Estimated(frame, poses, stages, round(index * 1e9 / self._fps)))
        return all_of_them

    def whole(self) -> Callable[[], None]:
        """The run."""
        source, estimator, sink = self._captured(), self._estimator(), JsonlSink(self._output)
        control = LoopControl(overlapped=True, smoother=PoseSmoother())

        def work() -> None:
            run_source(source, estimator, OksTracker(), [sink], control)
            sink.close(complete=True)
            source.close()

        return work

    def one_after_the_other(self) -> Callable[[], None]:
        """The run without threads."""
        source, estimator, sink = VideoSource(self._video), self._estimator(), JsonlSink(self._output)
        control = LoopControl(smoother=PoseSmoother())

        def work() -> None:
            run_source(source, estimator, OksTracker(), [sink], control)
            sink.close(complete=True)
            source.close()

        return work

    def capture(self) -> Callable[[], None]:
        """Reading alone."""
        source = self._captured()

        def work() -> None:
            while source.read(1.0) is not None:
                pass
            source.close()

        return work

    def estimate(self) -> Callable[[], None]:
        """The models alone, preprocessing and decoding included."""
        estimator = self._estimator()

        def work() -> None:
            for image in self.images:
                estimator.estimate(image)

        return work

    def results(self) -> Callable[[], None]:
        """Tracking, smoothing and writing alone."""
        sink = JsonlSink(self._output)
        stage = ResultStage(OksTracker(), PoseSmoother(), [sink])

        def work() -> None:
            for estimated in self._estimated:
                stage.write(estimated)
            sink.close(complete=True)

        return work

    def bare(self) -> Callable[[], None]:
        """``invoke`` alone."""

        def work() -> None:
            for _ in self.images:
                self._backend.invoke()

        return work

    def persons_ms(self, count: int) -> float:
        """Processor time of a frame with so many boxes, models alone, one thread."""
        pipeline = open_pipeline(self._model, None, RuntimeOptions(self._threads))
        boxes = np.array([[40 + 90 * i, 60, 160 + 90 * i, 300] for i in range(count)], np.float32)
        times = []
        for image in self.images[:12]:
            start_ns = time.thread_time_ns()
            pipeline.estimate(image, boxes)
            times.append((time.thread_time_ns() - start_ns) / 1e6)
        return statistics.median(times[2:])


@dataclass(frozen=True)
class _Spent:
    """Milliseconds a frame: on the clock, of this thread, of the whole process."""

    wall_ms: float
    thread_ms: float
    process_ms: float


_WAYS = ("whole", "one_after_the_other", "capture", "estimate", "results", "bare")


def _measure(bench: _Bench, rounds: int) -> dict[str, list[_Spent]]:
    """Each way, round by round, in changing order."""
    spent: dict[str, list[_Spent]] = {way: [] for way in _WAYS}
    for number in range(-1, rounds):
        for way in _WAYS if number % 2 else _WAYS[::-1]:
            measured = _spent(getattr(bench, way)(), len(bench.images))
            if number >= 0:
                spent[way].append(measured)
    return spent


def _spent(work: Callable[[], None], frames: int) -> _Spent:
    clocks = (time.monotonic, time.thread_time, time.process_time)
    before = [clock() for clock in clocks]
    work()
    wall, thread, process = (
        (clock() - start) * 1e3 / frames for clock, start in zip(clocks, before, strict=True)
    )
    return _Spent(wall, thread, process)


def _cold_starts(model: Path, video: Path, runs: int) -> list[float]:
    """Seconds from the start of the program to the first line, files in the page cache."""
    program = [str(_BIN / "edgepose-device"), "run", str(video), "--model", str(model), "--threads", "1"]
    seconds = []
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "poses.jsonl"
            start_ns = time.monotonic_ns()
            with subprocess.Popen(
                [*program, "--max-frames", "1", "--output", str(output)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                while not (output.exists() and output.stat().st_size):
                    if process.poll():
                        raise SystemExit("edgepose-device failed")
                    time.sleep(0.001)
                seconds.append((time.monotonic_ns() - start_ns) / 1e9)
    return seconds[1:]


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    cv2.setNumThreads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(arguments.model, arguments.video, arguments.threads, Path(folder))
        times = _measure(bench, arguments.rounds)
        persons = [
            [bench.persons_ms(count) for count in range(1, _MOST_PERSONS + 1)]
            for _ in range(arguments.rounds)
        ]
    result = _result(arguments, times, persons, _cold_starts(arguments.model, arguments.video, 7))
    result["frames"] = len(bench.images)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("edgepose", "peer_result", "ratios")}, indent=2))


def _result(
    arguments: argparse.Namespace,
    spent: dict[str, list[_Spent]],
    persons: list[list[float]],
    cold_starts: list[float],
) -> dict[str, Any]:
    version = importlib.metadata.version("ai-edge-litert")
    return {
        "schema": "edgepose.comparison/1",
        "name": "runtime",
        "peer": {"name": "ai-edge-litert Interpreter.invoke", "version": version},
        "same_work": "the same file, threads and number of frames; edgepose: a video to JSON lines, one "
        "person followed, tracked and smoothed; peer: invoke alone",
        "edgepose": {
            "version": __version__,
            **{way: _figures(spent[way]) for way in _WAYS if way != "bare"},
            "persons_ms": [round(min(row[i] for row in persons), 3) for i in range(_MOST_PERSONS)],
            "cold_start_s": {
                "median": round(statistics.median(cold_starts), 3),
                "fastest": round(min(cold_starts), 3),
                "worst": round(max(cold_starts), 3),
            },
        },
        "peer_result": {"bare": _figures(spent["bare"])},
        "ratios": _ratios(spent, persons),
        "rounds": arguments.rounds,
        "threads": arguments.threads,
        "command": f"python benchmarks/runtime.py {arguments.model.name} {arguments.video.name} "
        f"--rounds {arguments.rounds} --threads {arguments.threads}",
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average_1_min": round(os.getloadavg()[0], 1),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        "model_sha256": sha256_of_path(arguments.model),
    }


def _ratios(spent: dict[str, list[_Spent]], persons: list[list[float]]) -> dict[str, Any]:
    wall = {way: [s.wall_ms for s in spent[way]] for way in _WAYS}
    # Of the thread of the models: what is left when nothing else is in its way.
    own = {way: [s.thread_ms for s in spent[way]] for way in _WAYS}
    process = {way: [s.process_ms for s in spent[way]] for way in _WAYS}
    slowest = [max(stages) for stages in zip(wall["capture"], wall["estimate"], wall["results"], strict=True)]
    slowest_own = [
        max(stages) for stages in zip(own["capture"], own["estimate"], own["results"], strict=True)
    ]
    further = [(row[-1] - row[0]) / (_MOST_PERSONS - 1) for row in persons]
    return {
        "throughput_to_slowest_stage_clock": _ratio(slowest, wall["whole"]),
        "throughput_to_slowest_stage_processor": _ratio(slowest_own, own["whole"]),
        "whole_to_bare_clock": _ratio(wall["whole"], wall["bare"]),
        "whole_to_bare_processor": _ratio(own["whole"], own["bare"]),
        "estimate_to_bare_processor": _ratio(own["estimate"], own["bare"]),
        "all_threads_to_one_after_the_other_processor": _ratio(
            process["whole"], process["one_after_the_other"]
        ),
        "further_person_to_one": _ratio(further, [row[0] for row in persons]),
    }


def _figures(spent: list[_Spent]) -> dict[str, float]:
    return {
        "frame_ms": round(statistics.median(s.wall_ms for s in spent), 3),
        "frame_ms_fastest": round(min(s.wall_ms for s in spent), 3),
        "own_thread_ms": round(statistics.median(s.thread_ms for s in spent), 3),
        "all_threads_ms": round(statistics.median(s.process_ms for s in spent), 3),
    }


def _ratio(first: list[float], second: list[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    low, high = np.percentile(ratios, [25, 75])
    return {
        "median": round(statistics.median(ratios), 4),
        "quartile_low": round(float(low), 4),
        "quartile_high": round(float(high), 4),
        "of_fastest": round(min(first) / min(second), 4),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="TFLite pose model of crops, its spec inside")
    parser.add_argument("video", type=Path, help="one person")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
