"""Telemetry's figures against sums that are made here by hand: rate, drops, gaps, events of a camera."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.device.events import CaptureEvent, EventBus
from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.store import TelemetryPlace
from edgepose.device.monitor.telemetry_sink import Clocks, TelemetryOptions, TelemetrySink
from edgepose.device.monitor.window import Window
from edgepose.device.output.pose_sink import FrameResult
from tests.support.telemetry import START, filled_store, frame_result
from tests.support.waiting import until

NEVER_S = 3600.0


def dropping(dropped: int, persons: int = 1, latency_ms: float = 10.0) -> FrameResult:
    result = frame_result(persons, latency_ms)
    return replace(result, frame=replace(result.frame, dropped_before=dropped))


def counted(results: list[FrameResult], duration_s: float) -> Window:
    window = Window("2026-03-01T08:00:00Z")
    for result in results:
        window.count(result)
    window.duration_s = duration_s
    return window


@pytest.mark.parametrize(
    ("frames", "duration_s", "fps"), [(120, 60.0, 2.0), (1, 3.0, 0.33), (0, 60.0, 0.0), (5, 0.0, 0.0)]
)
def test_the_rate_is_frames_by_time(frames: int, duration_s: float, fps: float) -> None:
    record = counted([frame_result()] * frames, duration_s).record()
    assert (record.frames, record.fps) == (frames, fps)


def test_frames_that_were_dropped_are_counted_and_are_no_frames() -> None:
    record = counted([dropping(n) for n in (0, 3, 0, 1)], 2.0).record()
    assert (record.frames, record.dropped, record.fps) == (4, 4, 2.0)


def test_the_rate_of_a_whole_run_is_all_frames_by_all_time_not_the_mean_of_rates() -> None:
    total = Window("")
    for frames, duration_s in ((300, 10.0), (10, 50.0)):
        total.merge(counted([dropping(1)] * frames, duration_s))
    totals = total.totals()
    assert (totals.frames, totals.dropped, totals.duration_s, totals.fps) == (310, 310, 60.0, 5.17)


def test_all_counts_of_two_windows_add_up() -> None:
    first = counted([dropping(2, persons, 8.0) for persons in (0, 1, 2)], 1.0)
    second = counted([dropping(0, persons, 20.0) for persons in (2, 3)], 1.0)
    first.merge(second)
    record = first.record()
    assert (record.frames, record.frames_with_poses, record.persons, record.dropped) == (5, 4, 8, 6)
    assert record.persons_a_frame == (1, 1, 2, 1)
    stages = record.stages["total"]
    assert (stages.count, stages.mean_ms, stages.max_ms) == (5, pytest.approx((3 * 8 + 2 * 20) / 5), 20.0)


def test_stored_figures_are_those_that_were_counted(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 0)
    store.add(counted([dropping(3), dropping(0), dropping(4)], 1.5), [])
    store.close()
    (minute,) = read_telemetry(tmp_path).windows
    assert (minute.frames, minute.dropped, minute.duration_s, minute.fps) == (3, 7, 1.5, 2.0)


def test_time_without_a_frame_is_a_window_of_its_own_and_lowers_the_rate(tmp_path: Path) -> None:
    """A camera that stands still for a minute is no gap in the telemetry: the minute says 0 frames."""
    store = filled_store(tmp_path, 0)
    for frames in (60, 0, 60):
        store.add(counted([frame_result()] * frames, 60.0), [])
    store.close()
    report = read_telemetry(tmp_path)
    assert [(window.frames, window.fps) for window in report.windows] == [(60, 1.0), (0, 0.0), (60, 1.0)]
    assert report.windows[1].stages == {}
    assert report.totals is not None
    assert (report.totals.duration_s, report.totals.fps) == (180.0, 0.67)


@pytest.mark.timing
def test_a_window_ends_where_the_next_begins_by_the_monotonic_clock(tmp_path: Path) -> None:
    # Ten seconds between any two looks at the clock; nothing is lost between two windows.
    clocks = Clocks(monotonic_ns=itertools.count(0, 10 * 10**9).__next__, now=lambda: START)
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(0.02, clocks=clocks))
    sink.write(dropping(5))
    until(TelemetryPlace(tmp_path).prometheus.exists, "the first window")
    until(lambda: len(read_telemetry(tmp_path).windows) >= 3, "three windows")
    sink.close(complete=True)
    windows = read_telemetry(tmp_path).windows
    assert {window.duration_s for window in windows} == {10.0}
    assert [window.fps for window in windows] == [0.1] + [0.0] * (len(windows) - 1)
    assert [window.dropped for window in windows] == [5] + [0] * (len(windows) - 1)


@pytest.mark.parametrize(
    ("happened", "kind"),
    [
        ("lost", "camera_lost"),
        ("recovered", "camera_restarted"),
        ("frozen", "camera_frozen"),
        ("size_changed", "camera_size_changed"),
    ],
)
def test_what_happened_to_the_camera_is_told_with_the_length_of_the_gap(
    tmp_path: Path, happened: str, kind: str
) -> None:
    event = CaptureEvent(kind=happened, reason="cable", outage_s=12.5)  # type: ignore[arg-type]
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    bus = EventBus()
    bus.subscribe(sink.note)
    bus.publish(event.as_event())
    sink.close(complete=True)
    told = [(one.kind, one.value) for one in read_telemetry(tmp_path).events]
    assert told == [("run_started", None), (kind, 12.5), ("run_ended", None)]
