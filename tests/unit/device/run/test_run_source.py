"""Estimate, write aside: what comes out is the same as one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edgepose.device.capture.frame_source import Frame, SourceInfo
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.device.run.input_pacing import Heat, InputPacer
from edgepose.device.run.loop import LoopControl, run_source
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.summary import RunSummary
from edgepose.device.run.tracking import OksTracker
from edgepose.errors import ConfigError, DeviceError
from edgepose.runtime.open_model import open_pipeline
from tests.support.constant_models import write_one_stage
from tests.support.pictures import STANDING
from tests.support.waiting import PATIENCE_S

_WH = (64, 64)


@dataclass
class _Source:
    """A source whose picture i has brightness i."""

    frames: int = 12
    live: bool = False
    fails_at: int | None = None
    frame_s: float = 0.0
    index: int = 0
    readers: set[int] = field(default_factory=set)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(
            "generated", live=self.live, fps=10.0, frame_count=None if self.live else self.frames
        )

    @property
    def ended(self) -> bool:
        return self.index >= self.frames

    def read(self, wait_s: float) -> Frame | None:
        del wait_s
        self.readers.add(threading.get_ident())
        if self.ended:
            return None
        if self.index == self.fails_at:
            raise DeviceError("the camera burns")
        time.sleep(self.frame_s)
        picture = np.full((_WH[1], _WH[0], 3), self.index, np.uint8)
        self.index += 1
        # A live one counts its own time, so that nothing here depends on how busy the machine is.
        now_ns = round(self.index * 1e8) if self.live else time.monotonic_ns()
        return Frame(picture, now_ns, self.index - 1)

    def close(self) -> None:
        self.index = self.frames


@dataclass
class _Sink:
    """Remembers what it was given."""

    fails_at: int | None = None
    slow_s: float = 0.0
    frames: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    results: list[FrameResult] = field(default_factory=list)
    writers: set[int] = field(default_factory=set)

    def write(self, result: FrameResult) -> None:
        self.writers.add(threading.get_ident())
        if result.frame.index == self.fails_at:
            raise ConfigError("the disk is full")
        time.sleep(self.slow_s)
        # After the pause: a picture that was filled again in the meantime would show.
        self.levels.append(int(result.frame.image.mean()))
        self.frames.append(result.frame.index)
        self.results.append(result)

    def close(self, *, complete: bool) -> None:
        del complete


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_one_stage(
        tmp_path_factory.mktemp("m") / "m.onnx", [np.array([32, 32]) + STANDING * 40], [0.9]
    )


def _run(
    model: Path, source: _Source, sink: _Sink, control: LoopControl | None = None
) -> tuple[RunSummary, _Sink]:
    estimator = FrameEstimator(open_pipeline(model))
    return run_source(source, estimator, OksTracker(), [sink], control or LoopControl(overlapped=True)), sink


@pytest.mark.parametrize("overlapped", [True, False])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("slow_s", [0.0, 0.004])
def test_every_frame_is_written_once_in_order_with_its_own_picture(
    model: Path, overlapped: bool, live: bool, slow_s: float
) -> None:
    control = LoopControl(overlapped=overlapped)
    summary, sink = _run(model, _Source(live=live), _Sink(slow_s=slow_s), control)
    assert sink.frames == sink.levels == list(range(12))
    assert (summary.frames, summary.persons, summary.tracks, summary.ended_by) == (12, 12, 1, "source")


@pytest.mark.parametrize("live", [True, False])
def test_frames_are_read_when_they_are_wanted_and_results_written_in_a_thread_of_their_own(
    model: Path, live: bool
) -> None:
    # Nothing is read ahead here, where a frame would grow old: that a file is, its own process sees to
    # (tests/integration/capture/test_supervised_files.py).
    source = _Source(live=live)
    _, sink = _run(model, source, _Sink())
    own = threading.get_ident()
    assert source.readers == {own}
    assert own not in sink.writers


def test_a_source_that_fails_ends_the_run_after_the_frames_before_it(model: Path) -> None:
    sink = _Sink(slow_s=0.003)
    with pytest.raises(DeviceError, match="burns"):
        _run(model, _Source(fails_at=7), sink)
    assert sink.frames == list(range(7))


def test_an_output_that_fails_ends_the_run_with_its_own_message(model: Path) -> None:
    sink, source = _Sink(fails_at=3), _Source(frames=1000)
    with pytest.raises(ConfigError, match="disk is full"):
        _run(model, source, sink)
    assert sink.frames == [0, 1, 2]
    assert source.index < 20, "the models do not go on for nobody"


def test_an_output_that_fails_at_the_last_frame_is_not_overlooked(model: Path) -> None:
    with pytest.raises(ConfigError, match="disk is full"):
        _run(model, _Source(), _Sink(fails_at=11))


def test_a_model_that_fails_ends_the_run_after_the_results_before_it(model: Path) -> None:
    estimator, sink = FrameEstimator(open_pipeline(model)), _Sink(slow_s=0.005)
    real: Callable[..., object] = estimator._pipeline.estimate
    calls = iter(range(100))

    def fail_at_five(*arguments: object) -> object:
        if next(calls) == 5:
            raise DeviceError("the accelerator is gone")
        return real(*arguments)

    estimator._pipeline.estimate = fail_at_five  # type: ignore[method-assign,assignment]
    with pytest.raises(DeviceError, match="gone"):
        run_source(_Source(), estimator, OksTracker(), [sink], LoopControl(overlapped=True))
    assert sink.frames == list(range(5))


def test_a_stop_in_mid_frame_finishes_what_was_begun(model: Path) -> None:
    sink, seen = _Sink(slow_s=0.003), [0]

    def progress(done: int, _total: int) -> None:
        seen[0] = done

    control = LoopControl(stop=lambda: seen[0] >= 4, progress=progress, overlapped=True)
    summary, _ = _run(model, _Source(frames=1000), sink, control)
    assert summary.ended_by == "signal"
    assert sink.frames == list(range(4))
    assert summary.frames == 4


def test_no_thread_stays_behind(model: Path) -> None:
    # One of an earlier test may end meanwhile.
    before = set(threading.enumerate())
    _run(model, _Source(), _Sink())
    with pytest.raises(ConfigError):
        _run(model, _Source(frames=1000), _Sink(fails_at=2))
    assert set(threading.enumerate()) <= before


@dataclass
class _LookingSink(_Sink):
    """Waits while it writes until the next picture has been read, and remembers whether it was."""

    source: _Source = field(default_factory=_Source)
    limit_s: float = PATIENCE_S
    read_meanwhile: list[bool] = field(default_factory=list)

    def write(self, result: FrameResult) -> None:
        super().write(result)
        if self.source.ended:
            # After the last picture there is none to read.
            return
        limit = time.monotonic() + self.limit_s
        while not (ahead := self.source.index > result.frame.index + 1) and time.monotonic() < limit:
            time.sleep(0.001)
        self.read_meanwhile.append(ahead)


def test_pictures_are_read_while_results_are_written(model: Path) -> None:
    source = _Source(frames=6)
    sink = _LookingSink(source=source)
    _run(model, source, sink)
    assert sink.read_meanwhile
    assert all(sink.read_meanwhile)
    # The negative control: one after the other.
    source = _Source(frames=6)
    sink = _LookingSink(source=source, limit_s=0.02)
    _run(model, source, sink, LoopControl(overlapped=False))
    assert sink.read_meanwhile == [False] * 5


def test_smoothed_results_carry_what_was_measured_too(model: Path) -> None:
    control = LoopControl(overlapped=True, smoother=PoseSmoother())
    _, sink = _run(model, _Source(), _Sink(), control)
    assert all(result.measured is not None for result in sink.results)
    _, plain = _run(model, _Source(), _Sink())
    assert all(result.measured is None and result.unsmoothed is result.poses for result in plain.results)
    assert set(plain.results[0].stages_ms) == {"detect", "preprocess", "infer", "decode"}


def test_frames_left_out_under_heat_are_counted_and_told(model: Path) -> None:
    pacer = InputPacer(heat=lambda: Heat(90.0, throttled=None))
    summary, sink = _run(
        model, _Source(frames=120, live=True), _Sink(), LoopControl(overlapped=True, pacer=pacer)
    )
    # What was left out last has no result after it.
    assert 110 < summary.frames + summary.skipped <= 120
    assert summary.skipped > 20
    assert summary.dropped == summary.skipped
    assert {change.reason for change in summary.rate_changes} == {"heat"}
    assert sum(len(result.rate_changes) for result in sink.results) == len(summary.rate_changes)
    assert "left out because of heat" in summary.describe()
