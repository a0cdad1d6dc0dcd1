"""Times a model on this machine, on the very pipeline that ships."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.inference import machine
from edgepose.inference.open_model import RuntimeOptions, open_pipeline
from edgepose.inference.pipeline import PosePipeline
from edgepose.inference.preprocess import Image
from edgepose.inference.stage_timer import Stage
from edgepose.spec.benchmark_report import (
    BackendRecord,
    BenchmarkDevice,
    BenchmarkedModel,
    BenchmarkReport,
    LatencyRecord,
    StageRecord,
)
from edgepose.spec.device_profile import DeviceProfile
from edgepose.trust.digests import sha256_of_file

# MLPerf Mobile's rule: at least 1,024 samples and 60 seconds.
MLPERF_SAMPLES = 1024
MLPERF_DURATION_S = 60.0
_STAGES: tuple[Stage, ...] = ("preprocess", "infer", "decode")


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure.

    Attributes:
        model: The model file.
        spec_file: Spec of a file that carries none.
        profile: Whose device and threads; None takes one thread.
        options: How to run.
        duration_s: Shortest time to measure.
        min_samples: Fewest timed frames.
        warm_up: Frames before timing starts, the first of them reported.
        progress: Called with (seconds done, seconds in all).
    """

    model: Path
    spec_file: Path | None
    profile: DeviceProfile | None
    options: RuntimeOptions
    duration_s: float = MLPERF_DURATION_S
    min_samples: int = MLPERF_SAMPLES
    warm_up: int = 10
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)


def benchmark_model(request: BenchmarkRequest) -> BenchmarkReport:
    """Measures latency per frame and stage, memory and load time.

    Raises:
        EdgeposeError: As ``open_pipeline`` and ``PosePipeline.estimate`` raise.
    """
    cv2.setNumThreads(request.options.threads)
    start_ns = time.monotonic_ns()
    pipeline = open_pipeline(request.model, request.spec_file, request.options)
    load_ms = (time.monotonic_ns() - start_ns) / 1e6
    picture, boxes = _picture(), np.array([[200.0, 40.0, 440.0, 440.0]])
    first_ms = _time_frame(pipeline, picture, boxes)
    for _ in range(request.warm_up - 1):
        _time_frame(pipeline, picture, boxes)
    total_ms, stages_ms, duration_s = _sample(pipeline, picture, boxes, request)
    info = pipeline.backend_info
    return BenchmarkReport(
        schema="edgepose.benchmark/1",
        backend=BackendRecord(
            runtime=info.runtime,
            version=info.version,
            delegate_used=info.delegate_used,
            ops_total=info.ops_total,
            ops_on_cpu=info.ops_on_cpu,
        ),
        threads=info.threads,
        samples=len(total_ms),
        duration_s=round(duration_s, 3),
        load_ms=load_ms,
        first_inference_ms=first_ms,
        latency_ms=_percentiles(total_ms),
        stages_ms=StageRecord(**{s: float(np.median(stages_ms[s])) for s in _STAGES}),
        peak_rss_mib=machine.peak_rss_mib(),
        retention=_retention(total_ms),
        temperature_celsius=machine.temperature_celsius(),
        throttled=machine.throttled(),
        model=BenchmarkedModel(sha256=sha256_of_file(request.model), name=pipeline.spec.name),
        device=_device(request.profile),
    )


def _sample(
    pipeline: PosePipeline, picture: Image, boxes: NDArray[np.float64], request: BenchmarkRequest
) -> tuple[NDArray[np.float64], dict[Stage, list[float]], float]:
    total_ms: list[float] = []
    stages_ms: dict[Stage, list[float]] = {stage: [] for stage in _STAGES}
    start_ns = time.monotonic_ns()
    duration_s = 0.0
    while duration_s < request.duration_s or len(total_ms) < request.min_samples:
        total_ms.append(_time_frame(pipeline, picture, boxes))
        for stage in _STAGES:
            stages_ms[stage].append(pipeline.timer.elapsed_ms(stage))
        duration_s = (time.monotonic_ns() - start_ns) / 1e9
        request.progress(min(int(duration_s), int(request.duration_s)), max(int(request.duration_s), 1))
    return np.asarray(total_ms), stages_ms, duration_s


def _time_frame(pipeline: PosePipeline, picture: Image, boxes: NDArray[np.float64]) -> float:
    pipeline.timer.reset()
    start_ns = time.monotonic_ns()
    pipeline.estimate(picture, boxes)
    return (time.monotonic_ns() - start_ns) / 1e6


def _picture() -> Image:
    """A 640x480 picture of coarse noise: the time does not depend on what is seen."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _percentiles(values_ms: NDArray[np.float64]) -> LatencyRecord:
    p50, p90, p95, p99 = (float(p) for p in np.percentile(values_ms, [50, 90, 95, 99]))
    return LatencyRecord(p50=p50, p90=p90, p95=p95, p99=p99, mean=float(values_ms.mean()))


def _retention(values_ms: NDArray[np.float64]) -> float | None:
    part = len(values_ms) // 10
    if part < 10:
        return None
    return float(np.median(values_ms[:part]) / np.median(values_ms[-part:]))


def _device(profile: DeviceProfile | None) -> BenchmarkDevice:
    return BenchmarkDevice(
        arch=machine.architecture(),
        model=machine.board_model(),
        cpu_governor=machine.cpu_governor(),
        profile=profile.id if profile else None,
        is_profile_device=None if profile is None else machine.this_is_the_device(profile.hardware),
    )
