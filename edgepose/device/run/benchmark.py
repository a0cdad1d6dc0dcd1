"""Benchmarks a model as a run would take it, and how old a frame is when its poses are known."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace as with_fields

from edgepose.device.capture.frame_source import Frame, FrameSource, SourceInfo
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.run.estimator_choice import EstimatorChoice, chosen_models, open_estimator
from edgepose.device.run.loop import DETECT_EVERY, LoopControl, run_source
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.tracking import OksTracker
from edgepose.errors import ConfigError
from edgepose.records.benchmark_report import BenchmarkReport, FrameAgeRecord
from edgepose.records.device_profile import DeviceProfile
from edgepose.runtime.benchmark import WARM_UP_SAMPLES, BenchmarkRequest, benchmark_model, percentiles
from edgepose.runtime.benchmark_rule import RULE, BenchmarkLength
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import RuntimeOptions


@dataclass(frozen=True)
class PlayClock:
    """What plays; a test has another one."""

    now_ns: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], None] = time.sleep


class PlayedSource:
    """Plays a video.

    A frame counts as captured when it is due. Where the decoder is slower than the video, the video waits for
    it: a camera has no such lag, and the models did not cause it.

    Raises:
        ConfigError: The source is no video: it has no rate.
    """

    def __init__(self, video: FrameSource, clock: PlayClock | None = None) -> None:
        info = video.info
        if info.live or not info.fps:
            raise ConfigError(
                f"{info.name} has no rate at which it could be played.", "Give a video or a camera."
            )
        self.info = SourceInfo(info.name, live=True, fps=info.fps)
        self._video = video
        self._clock = clock or PlayClock()
        self._period_ns = round(1e9 / info.fps)
        self._next_due_ns: int | None = None
        self._pending: Frame | None = None
        self._delivered = 0

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        return self._pending is None and self._video.ended

    def read(self, wait_s: float) -> Frame | None:
        """The newest frame that is due, or the next as soon as it is.

        Raises:
            EdgeposeError: As the video raises.
        """
        dropped = 0
        frame = self._pending or self._decoded()
        while frame is not None and self._clock.now_ns() >= frame.timestamp_ns + self._period_ns:
            newer = self._decoded()
            if newer is None:
                break
            frame, dropped = newer, dropped + 1
        self._pending = None
        if frame is None:
            return None
        frame = replace(frame, dropped_before=frame.dropped_before + dropped)
        ahead_s = (frame.timestamp_ns - self._clock.now_ns()) / 1e9
        if ahead_s > 0:
            self._clock.sleep(min(ahead_s, wait_s))
        if ahead_s > wait_s:
            self._pending = frame
            return None
        self._delivered += 1
        return replace(frame, index=self._delivered - 1)

    def close(self) -> None:
        """Closes the video; closing twice is harmless."""
        self._pending = None
        self._video.close()

    def _decoded(self) -> Frame | None:
        """The next frame of the video, with the moment at which it is due."""
        asked_ns = self._clock.now_ns()
        frame = self._video.read(1.0)
        if frame is None:
            return None
        here_ns = self._clock.now_ns()
        due_ns = here_ns if self._next_due_ns is None else self._next_due_ns
        # Late is what the decoder took beyond the moment, not what the models took before they asked.
        due_ns += max(0, here_ns - max(due_ns, asked_ns))
        self._next_due_ns = due_ns + self._period_ns
        return replace(frame, timestamp_ns=due_ns)


@dataclass(frozen=True)
class FrameAgeRequest:
    """What to measure.

    Attributes:
        duration_s: Longest time; a video may end before.
        lock: Locks the process in before the first frame; None for a video.
    """

    source: str | SourceAddress
    models: EstimatorChoice
    duration_s: float
    lock: Callable[[], object] | None = None
    capture: CaptureOptions = field(default_factory=CaptureOptions)


class _Ages:
    """Takes the results of the run."""

    def __init__(self, duration_s: float) -> None:
        self.ages_ms: list[float] = []
        self.dropped = 0
        self.detector = False
        self._limit_s = duration_s
        self._seen = 0
        self._start_s = self._last_s = time.monotonic()

    def write(self, result: FrameResult) -> None:
        """Takes one frame; the first ones warm up."""
        self._seen += 1
        self.detector |= result.stages_ms["detect"] > 0
        if self._seen <= WARM_UP_SAMPLES:
            self._start_s = time.monotonic()
            return
        self._last_s = time.monotonic()
        self.ages_ms.append(result.latency_ms)
        self.dropped += result.frame.dropped_before

    def close(self, *, complete: bool) -> None:
        """Has nothing to finish."""

    @property
    def duration_s(self) -> float:
        """From the last frame that warmed up to the newest one."""
        return self._last_s - self._start_s

    def long_enough(self) -> bool:
        """Whether the time is over."""
        return self._seen >= WARM_UP_SAMPLES and time.monotonic() - self._start_s >= self._limit_s


def require_source(request: FrameAgeRequest) -> None:
    """Opens the source and closes it, so that a wrong one is said before anything is measured.

    Raises:
        ConfigError: The source is not usable or has no rate.
        DeviceError: The camera cannot be opened.
    """
    address = parse_source(request.source)
    source = SupervisedSource(address, request.capture)
    try:
        _shown(source.opened(), address)
    finally:
        source.close()


def measure_frame_age(request: FrameAgeRequest) -> FrameAgeRecord:
    """Runs a camera, or a video at its own rate, through the models.

    Raises:
        ConfigError: The source is not usable, has no rate, or has too few frames.
        DeviceError: The camera failed, or the process could not be locked in.
        EdgeposeError: As ``open_estimator`` raises.
    """
    address = parse_source(request.source)
    cv2.setNumThreads(request.models.threads or 1)
    with ExitStack() as opened:
        source = SupervisedSource(address, request.capture)
        opened.callback(source.close)
        estimator = open_estimator(request.models)
        estimator.detect_every = DETECT_EVERY
        smoother = None if estimator.take_smoothing() else PoseSmoother()
        shown = _shown(source, address)
        if request.lock is not None:
            request.lock()
        ages = _Ages(request.duration_s)
        control = LoopControl(ages.long_enough, overlapped=True, smoother=smoother)
        run_source(shown, estimator, OksTracker(), [ages], control)
        return _record(ages, address, shown.info.fps)


def _shown(source: SupervisedSource, address: SourceAddress) -> FrameSource:
    return PlayedSource(source) if address.kind == "path" else source


def _record(ages: _Ages, address: SourceAddress, source_fps: float | None) -> FrameAgeRecord:
    if not ages.ages_ms:
        raise ConfigError(
            f"{address.shown} gave no frame after the {WARM_UP_SAMPLES} that warm up.",
            "Give a longer video, or a camera.",
        )
    played = address.kind == "path"
    return FrameAgeRecord(
        # Where a file lies is no one else's business.
        source=Path(address.shown).name if played else address.shown,
        played=played,
        source_fps=source_fps,
        frames=len(ages.ages_ms),
        dropped=ages.dropped,
        duration_s=round(ages.duration_s, 3),
        age_ms=percentiles(np.asarray(ages.ages_ms)),
        detector=ages.detector,
    )


@dataclass(frozen=True)
class ModelBenchmark:
    """What to measure.

    Attributes:
        models: The models; a ``model`` may also be a person detector.
        profile: Whose device the record compares this machine with; a bundle and an installed model have
            their own.
        source: A camera or video for the age of frames; None measures none.
        lock: Locks the process in before a camera's first frame.
        progress: Called with (done, in all).
    """

    models: EstimatorChoice
    profile: DeviceProfile | None = None
    length: BenchmarkLength = RULE
    source: str | SourceAddress | None = None
    lock: Callable[[], object] | None = None
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)


def benchmark_chosen(request: ModelBenchmark) -> BenchmarkReport:
    """Measures the model by itself, then the age of frames where a source was given.

    Raises:
        ConfigError: The source has no rate, or a person detector was to give poses.
        EdgeposeError: As ``chosen_models``, ``benchmark_model`` and ``measure_frame_age`` raise.
    """
    choice = request.models
    alone = choice.model is not None and load_spec(choice.model, choice.spec).paradigm == "detector"
    age = _age_request(request)
    if age is not None:
        if alone:
            raise ConfigError(
                "A person detector by itself gives no poses, whose age --source measures.",
                "Benchmark the pose model, and give the detector with --detector.",
            )
        require_source(age)
    report = _of_detector(request) if alone else _of_pose_model(request)
    return report if age is None else with_fields(report, frame_age=measure_frame_age(age))


def _of_detector(request: ModelBenchmark) -> BenchmarkReport:
    choice = request.models
    if choice.model is None or choice.detector is not None:
        raise ConfigError("MODEL is a person detector already.", "Leave --detector out.")
    return benchmark_model(
        BenchmarkRequest(
            choice.model,
            choice.spec,
            request.profile,
            RuntimeOptions(_threads(request) or 1),
            request.length,
            progress=request.progress,
        )
    )


def _of_pose_model(request: ModelBenchmark) -> BenchmarkReport:
    with chosen_models(replace(request.models, threads=_threads(request))) as models:
        return benchmark_model(
            BenchmarkRequest(
                models.model,
                None,
                request.profile or models.profile,
                models.options,
                request.length,
                models.spec,
                request.progress,
            )
        )


def _threads(request: ModelBenchmark) -> int | None:
    profile = request.profile
    return request.models.threads or (profile.runtime.threads if profile else None)


def _age_request(request: ModelBenchmark) -> FrameAgeRequest | None:
    if request.source is None:
        return None
    models = replace(request.models, threads=_threads(request))
    seconds = request.length.duration_s or RULE.duration_s
    return FrameAgeRequest(request.source, models, seconds, request.lock, request.capture)
