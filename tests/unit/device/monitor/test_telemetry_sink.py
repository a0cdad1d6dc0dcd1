"""Telemetry as an output of a run: minutes, events, troubles with the disk and the clock."""

from __future__ import annotations

import itertools
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from edgepose.device.events import EventBus, RateChange
from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.recorder import Recorder
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from edgepose.device.monitor.telemetry_sink import Clocks, TelemetryOptions, TelemetrySink
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.full_disk import small_disk
from tests.support.telemetry import START, frame_result, window
from tests.support.waiting import until

pytestmark = pytest.mark.timing
NEVER_S = 3600.0
SHORT_S = 0.05


def test_a_run_is_a_window_with_its_figures(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    for index in range(10):
        sink.write(frame_result(persons=index % 3, latency_ms=10.0))
    sink.close(complete=True)
    sink.close(complete=True)
    report = read_telemetry(tmp_path)
    (minute,) = report.windows
    assert (minute.frames, minute.frames_with_poses, minute.persons) == (10, 6, 9)
    assert minute.persons_a_frame == (4, 3, 3)
    assert minute.duration_s > 0
    assert minute.stages["total"].mean_ms == 10.0
    assert minute.stages["infer"].mean_ms == 7.0
    # A detector that was not asked is no duration of 0.
    assert "detect" not in minute.stages
    assert [event.kind for event in report.events] == ["run_started", "run_ended"]


def test_windows_end_by_time_also_while_no_frame_comes(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(SHORT_S))
    sink.write(frame_result())
    until(TelemetryPlace(tmp_path).prometheus.exists, "the first window")
    until(lambda: len(read_telemetry(tmp_path).windows) >= 3, "three windows")
    sink.close(complete=True)
    frames = [minute.frames for minute in read_telemetry(tmp_path).windows]
    assert sum(frames) == 1
    assert frames[-1] == 0


def test_a_lower_input_rate_is_an_event(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    change = RateChange(frame=3, limit_fps=12.5, reason="heat", frame_ms=20.0)
    back = RateChange(frame=9, limit_fps=None, reason="recovered", frame_ms=9.0)
    bus = EventBus()
    bus.subscribe(sink.note)
    for one in (change, back):
        bus.publish(one.as_event())
    sink.close(complete=True)
    events = [(e.kind, e.subject, e.value) for e in read_telemetry(tmp_path).events]
    assert ("rate_lowered", "heat", 12.5) in events
    assert ("rate_restored", "recovered", None) in events


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(days=-365), timedelta(seconds=3)])
def test_a_clock_that_is_set_is_told_and_changes_no_duration(tmp_path: Path, jump: timedelta) -> None:
    times = iter([START, START, START, START + jump])
    last = START + jump
    clocks = Clocks(now=lambda: next(times, last), monotonic_ns=itertools.count(0, 10**9).__next__)
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S, clocks=clocks))
    sink.write(frame_result())
    sink.close(complete=True)
    report = read_telemetry(tmp_path)
    assert report.windows[0].duration_s == 1.0
    told = [event.value for event in report.events if event.kind == "clock_changed"]
    # Three seconds are what a time server adjusts: the negative control.
    assert told == ([] if abs(jump) < timedelta(minutes=1) else [pytest.approx(jump.total_seconds(), abs=2)])


def test_a_full_disk_pauses_telemetry_says_so_once_and_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    with small_disk(tmp_path, "256k"):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(b"\0" * (160 << 10))
        sink = TelemetrySink(tmp_path, said.append, TelemetryOptions(SHORT_S, StoreLimits(512 << 10)))
        until(lambda: said, "that telemetry pauses")
        for _ in range(20):
            sink.write(frame_result())
        # It has tried again in vain, and says nothing more.
        waiting = sink._recorder._waiting
        until(lambda: len(waiting) >= 3, "more tries", last=lambda: len(waiting))
        assert len(said) == 1
        assert said[0].startswith("Telemetry pauses, poses go on: ")
        ballast.unlink()
        until(lambda: len(said) == 2, "that telemetry goes on", last=lambda: said)
        sink.close(complete=True)
        report = read_telemetry(tmp_path)
    assert said[1] == "Telemetry goes on; 0 minutes were lost."
    assert sum(minute.frames for minute in report.windows) == 20
    assert [event.value for event in report.events if event.kind == "telemetry_paused"] == [0.0]


def test_a_database_damaged_while_it_is_open_is_renewed(tmp_path: Path) -> None:
    said: list[str] = []
    place = TelemetryPlace(tmp_path)
    recorder = Recorder(place, StoreLimits(), said.append)
    recorder.record(window(0), [])
    for path in (place.database, place.folder / "telemetry.sqlite3-wal"):
        with path.open("r+b") as stream:
            stream.write(b"\xff" * path.stat().st_size)
    # What SQLite still has in memory it does not read again.
    assert recorder._store is not None
    recorder._store._connection.execute("PRAGMA shrink_memory")
    recorder.record(window(1), [])
    recorder.close()
    assert len(said) == 1
    assert "was damaged and lies in" in said[0]
    assert list(read_telemetry(tmp_path).windows) == [window(1).record()]


def test_a_deleted_database_comes_back(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(SHORT_S))
    place = TelemetryPlace(tmp_path)
    until(place.prometheus.exists, "the first window")
    place.database.unlink()
    until(lambda: place.database.exists() and place.database.stat().st_size > 0, "a new database")
    sink.write(frame_result())
    sink.close(complete=True)
    assert sum(minute.frames for minute in read_telemetry(tmp_path).windows) == 1


def test_of_two_runs_in_one_root_one_writes_and_the_other_says_why_not(tmp_path: Path) -> None:
    said: list[str] = []
    first = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    place = TelemetryPlace(tmp_path)
    until(lambda: place.lock.exists() and place.prometheus.exists(), "the first run writes")
    second = TelemetrySink(tmp_path, said.append, TelemetryOptions(NEVER_S))
    until(lambda: said, "that another run writes")
    second.write(frame_result())
    first.close(complete=True)
    second.close(complete=True)
    assert "another run writes telemetry" in said[0]


def test_a_flood_of_events_takes_no_more_memory(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    until(TelemetryPlace(tmp_path).prometheus.exists, "the first window")
    for _ in range(5000):
        sink.note(RuntimeEvent(kind="camera_frozen"))
    assert len(sink._events) == 1000
    sink.close(complete=True)


def test_the_prometheus_file_is_whole_and_names_what_it_counts(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(NEVER_S))
    for latency_ms in (3.0, 30.0, 300.0):
        sink.write(frame_result(2, latency_ms))
    sink.close(complete=True)
    path = TelemetryPlace(tmp_path).prometheus
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    samples = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name.startswith("edgepose_")
            assert name not in samples
            samples[name] = float(value)
    assert samples["edgepose_frames_total"] == 3
    assert samples["edgepose_persons_total"] == 6
    assert samples['edgepose_events_total{kind="run_started"}'] == 1
    bucket = 'edgepose_stage_duration_seconds_bucket{stage="total",le="%s"}'
    assert [samples[bucket % bound] for bound in ("0.004", "0.064", "1.024", "+Inf")] == [1, 2, 3, 3]
    assert samples['edgepose_stage_duration_seconds_sum{stage="total"}'] == pytest.approx(0.333)
    # Each family is announced once, before its samples.
    announced = [line.split()[2] for line in path.read_text().splitlines() if line.startswith("# TYPE")]
    assert len(announced) == len(set(announced))


def test_frames_from_one_thread_and_events_from_another_are_all_counted(tmp_path: Path) -> None:
    sink = TelemetrySink(tmp_path, print, TelemetryOptions(SHORT_S / 5))
    result = frame_result()

    def note() -> None:
        for _ in range(200):
            sink.note(RuntimeEvent(kind="camera_restarted"))

    thread = threading.Thread(target=note)
    thread.start()
    for _ in range(2000):
        sink.write(result)
    thread.join()
    sink.close(complete=True)
    report = read_telemetry(tmp_path)
    assert sum(minute.frames for minute in report.windows) == 2000
    assert sum(event.kind == "camera_restarted" for event in report.events) == 200
