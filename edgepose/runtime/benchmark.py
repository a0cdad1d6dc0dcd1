"""Times a pose model or a detector on the very pipeline that ships, as MLPerf Mobile's single stream does."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.records.benchmark_report import (
    BackendRecord,
    BenchmarkDevice,
    BenchmarkedModel,
    BenchmarkReport,
    LatencyRecord,
    StageRecord,
    WarmUpRecord,
)
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime import machine
from edgepose.runtime.backend import BackendInfo
from edgepose.runtime.benchmark_rule import (
    MLPERF_DURATION_S,
    MLPERF_SAMPLES,
    RULE,
    BenchmarkLength,
    conditions_of,
    retention_of_minutes,
    retention_of_tenths,
    timeline_of,
    was_throttled,
)
from edgepose.runtime.energy import MachineWatch
from edgepose.runtime.model_file import load_spec, sha256_of_model
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.runtime.pipeline import PersonDetector, PosePipeline, Stage, StageTimer
from edgepose.runtime.preprocess import Image

# One person in an image of 640x480; models that see the whole image ignore it.
_BOX_XYXY_PX = np.array([[200.0, 40.0, 440.0, 440.0]])


@dataclass(frozen=True)
class BenchmarkSubject:
    """An opened model.

    Attributes:
        spec: Its spec.
        run: Takes an image all the way through.
        timer: Time of each stage of the last image.
        info: What really runs it, asked after it ran.
    """

    spec: ModelSpec
    run: Callable[[Image], object]
    timer: StageTimer
    info: Callable[[], BackendInfo]


def open_subject(
    model: Path, spec: ModelSpec | None, spec_file: Path | None, options: RuntimeOptions
) -> BenchmarkSubject:
    """Opens a pose model or a person detector.

    Raises:
        EdgeposeError: As ``load_spec``, ``open_backend`` and the stages raise.
    """
    spec = spec or load_spec(model, spec_file)
    if spec.paradigm == "detector":
        detector = PersonDetector(open_backend(model, options), spec)
        return BenchmarkSubject(spec, detector.detect, detector.timer, lambda: detector.backend_info)
    pipeline = PosePipeline(open_backend(model, options), spec)
    return BenchmarkSubject(
        spec,
        lambda image: pipeline.estimate(image, _BOX_XYXY_PX),
        pipeline.timer,
        lambda: pipeline.backend_info,
    )


__all__ = ["MLPERF_DURATION_S", "MLPERF_SAMPLES", "BenchmarkRequest", "benchmark_model", "percentiles"]

WARM_UP_SAMPLES = 10
_STAGES: tuple[Stage, ...] = ("preprocess", "infer", "decode")


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure.

    Attributes:
        model: The model file.
        spec_file: Spec of a file that carries none.
        profile: Whose device; None asks for none.
        options: How to run.
        length: When it has lasted long enough.
        spec: The spec where someone knows it already.
        progress: Called with (done, in all).
        sensors_root: Root of the file system, where the machine's sensors are.
    """

    model: Path
    spec_file: Path | None
    profile: DeviceProfile | None
    options: RuntimeOptions
    length: BenchmarkLength = RULE
    spec: ModelSpec | None = None
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)
    sensors_root: Path = Path("/")


class _Samples:
    """Few bytes a figure, as a measurement may last for hours."""

    def __init__(self) -> None:
        self.times_ms = array("f")
        self.ends_s = array("d")
        self.stages_ms: dict[Stage, array[float]] = {stage: array("f") for stage in _STAGES}
        self.peak_rss_mib = 0.0

    def add(self, subject: BenchmarkSubject, time_ms: float, end_s: float) -> None:
        self.times_ms.append(time_ms)
        self.ends_s.append(end_s)
        for stage in _STAGES:
            self.stages_ms[stage].append(subject.timer.elapsed_ms(stage))
        # By then the model has shown what it needs; what grows from here on are these figures.
        if len(self.times_ms) <= RULE.samples:
            self.peak_rss_mib = machine.peak_rss_mib()


def benchmark_model(request: BenchmarkRequest) -> BenchmarkReport:
    """Measures latency per frame and stage, memory, load time, heat and energy.

    Raises:
        EdgeposeError: As ``open_subject`` and the model raise.
    """
    cv2.setNumThreads(request.options.threads)
    start_ns = time.monotonic_ns()
    subject = open_subject(request.model, request.spec, request.spec_file, request.options)
    load_ms = _ms_since(start_ns)
    image = _picture()
    start_ns = time.monotonic_ns()
    first_ms = _time_frame(subject, image)
    for _ in range(WARM_UP_SAMPLES - 1):
        _time_frame(subject, image)
    warm_up = WarmUpRecord(samples=WARM_UP_SAMPLES, duration_s=round(_ms_since(start_ns) / 1e3, 3))
    with MachineWatch(request.sensors_root) as watch:
        samples = _sample(subject, image, request)
    times_ms, ends_s = np.asarray(samples.times_ms, np.float64), np.asarray(samples.ends_s)
    duration_s, seen = float(ends_s[-1]), watch.seen
    return BenchmarkReport(
        schema="edgepose.benchmark/1",
        backend=_backend(subject),
        threads=subject.info().threads,
        samples=len(times_ms),
        duration_s=round(duration_s, 3),
        load_ms=load_ms,
        first_inference_ms=first_ms,
        latency_ms=percentiles(times_ms),
        stages_ms=StageRecord(**{s: float(np.median(samples.stages_ms[s])) for s in _STAGES}),
        peak_rss_mib=samples.peak_rss_mib,
        retention=retention_of_tenths(times_ms),
        temperature_celsius=seen.after.temperature_celsius,
        throttled=was_throttled(seen),
        model=_model(request, subject),
        device=_device(request.profile),
        complete=RULE.reached(duration_s, len(times_ms)),
        warm_up=warm_up,
        retention_10_min=retention_of_minutes(times_ms, ends_s),
        conditions=conditions_of(seen),
        timeline=timeline_of(times_ms, ends_s, seen),
        energy=watch.energy(len(times_ms)),
    )


def percentiles(values_ms: NDArray[np.float64]) -> LatencyRecord:
    """Percentiles and mean of at least one time."""
    p50, p90, p95, p99 = (float(p) for p in np.percentile(values_ms, [50, 90, 95, 99]))
    return LatencyRecord(p50=p50, p90=p90, p95=p95, p99=p99, mean=float(values_ms.mean()))


def _sample(subject: BenchmarkSubject, image: Image, request: BenchmarkRequest) -> _Samples:
    samples, length = _Samples(), request.length
    start_ns = time.monotonic_ns()
    end_s, count = 0.0, 0
    while count == 0 or not length.reached(end_s, count):
        time_ms = _time_frame(subject, image)
        end_s, count = _ms_since(start_ns) / 1e3, count + 1
        samples.add(subject, time_ms, end_s)
        # What has farther to go tells how far it is.
        done = min(end_s / max(length.duration_s, 1e-9), count / length.samples, 1.0)
        request.progress(int(done * 1000), 1000)
    return samples


def _time_frame(subject: BenchmarkSubject, image: Image) -> float:
    subject.timer.reset()
    start_ns = time.monotonic_ns()
    subject.run(image)
    return _ms_since(start_ns)


def _ms_since(start_ns: int) -> float:
    return (time.monotonic_ns() - start_ns) / 1e6


def _picture() -> Image:
    """A 640x480 image of coarse noise: the time does not depend on what is seen."""
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _backend(subject: BenchmarkSubject) -> BackendRecord:
    info = subject.info()
    return BackendRecord(
        runtime=info.runtime,
        version=info.version,
        delegate_used=info.delegate_used,
        ops_total=info.ops_total,
        ops_on_cpu=info.ops_on_cpu,
    )


def _model(request: BenchmarkRequest, subject: BenchmarkSubject) -> BenchmarkedModel:
    return BenchmarkedModel(
        sha256=sha256_of_model(request.model), name=subject.spec.name, paradigm=subject.spec.paradigm
    )


def _device(profile: DeviceProfile | None) -> BenchmarkDevice:
    return BenchmarkDevice(
        arch=machine.architecture(),
        model=machine.board_model(),
        cpu_governor=machine.cpu_governor(),
        profile=profile.id if profile else None,
        is_profile_device=None if profile is None else machine.this_is_the_device(profile.hardware),
    )
