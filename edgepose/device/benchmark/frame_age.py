"""How old a frame is when its poses are known, end to end, through the loop that ships."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from edgepose.device.benchmark.played_source import PlayedSource
from edgepose.device.capture.frame_source import FrameSource
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.capture.supervised.kept_process import CaptureOptions
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.runtime import DETECT_EVERY, LoopControl, run_source
from edgepose.device.tracking.oks_tracker import OksTracker
from edgepose.device.tracking.one_euro import PoseSmoother
from edgepose.errors import ConfigError
from edgepose.inference.benchmark import WARM_UP_SAMPLES, percentiles
from edgepose.spec.benchmark_report import FrameAgeRecord


@dataclass(frozen=True)
class FrameAgeRequest:
    """What to measure.

    Attributes:
        source: SOURCE as typed.
        models: The models.
        duration_s: Longest time; a video may end before.
        lock: Locks the process in before the first frame; None for a video.
        capture: How the process that reads the source is watched.
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
        # Where a file lies is nobody else's business.
        source=Path(address.shown).name if played else address.shown,
        played=played,
        source_fps=source_fps,
        frames=len(ages.ages_ms),
        dropped=ages.dropped,
        duration_s=round(ages.duration_s, 3),
        age_ms=percentiles(np.asarray(ages.ages_ms)),
        detector=ages.detector,
    )
