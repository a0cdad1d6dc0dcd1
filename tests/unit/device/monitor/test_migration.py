"""Databases of former schemas become today's, whole, whenever the power goes; 30 days fit."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgepose.device.monitor import schema
from edgepose.device.monitor import store as telemetry_store
from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.recorder import open_or_renew
from edgepose.device.monitor.schema import COLUMNS, SCHEMA_VERSION
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace, prepare_folder
from edgepose.device.monitor.window import DurationHistogram, Window
from edgepose.records.telemetry_record import TIMED_STAGES, RuntimeEvent
from tests.support.telemetry import filled_store, window

MINUTES = 5
AT = "2026-03-01T08:00:00Z"
DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z"
# As the releases up to ADR 0047 wrote it; never to be changed.
FIRST_SCHEMA = (
    f"""CREATE TABLE minute (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at TEXT NOT NULL CHECK (started_at GLOB '{DATE}'),
  duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
  frames_with_poses INTEGER NOT NULL CHECK (frames_with_poses >= 0),
  persons INTEGER NOT NULL CHECK (persons >= 0),
  dropped INTEGER NOT NULL CHECK (dropped >= 0),
  temperature_celsius REAL CHECK (temperature_celsius BETWEEN -273.15 AND 1000),
  throttled INTEGER CHECK (throttled IN (0, 1))
) STRICT""",
    """CREATE TABLE duration (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN ('total', 'detect', 'preprocess', 'infer', 'decode')),
  sum_us INTEGER NOT NULL CHECK (sum_us >= 0),
  max_us INTEGER NOT NULL CHECK (max_us >= 0),
  PRIMARY KEY (minute, stage)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE duration_bucket (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN ('total', 'detect', 'preprocess', 'infer', 'decode')),
  bucket INTEGER NOT NULL CHECK (bucket BETWEEN 0 AND 81),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, stage, bucket)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE persons (
  minute INTEGER NOT NULL,
  persons INTEGER NOT NULL CHECK (persons BETWEEN 0 AND 20),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, persons)
) STRICT, WITHOUT ROWID""",
    (
        f"""CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL CHECK (at GLOB '{DATE}'),
  kind TEXT NOT NULL CHECK (kind IN ('run_started', 'run_ended', 'camera_restarted', 'camera_frozen', """
        """'camera_size_changed', 'camera_lost', 'rate_lowered', 'rate_restored', 'drift_started', """
        """'drift_ended', 'clock_changed', 'telemetry_paused', 'store_renewed')),
  subject TEXT NOT NULL CHECK (length(subject) <= 64 AND subject NOT GLOB '*[^a-z0-9_.-]*'),
  value REAL
) STRICT"""
    ),
)


def first_database(root: Path, minutes: int = MINUTES) -> TelemetryPlace:
    """What the first release would have left."""
    place = TelemetryPlace(root)
    root.mkdir(exist_ok=True)
    prepare_folder(place)
    with closing(sqlite3.connect(place.database)) as connection, connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in FIRST_SCHEMA:
            connection.execute(statement)
        connection.execute("PRAGMA application_id = 0x65646770")
        connection.execute("PRAGMA user_version = 1")
        for number in range(minutes):
            _insert(connection, window(number))
        connection.execute("INSERT INTO event VALUES (1, ?, 'drift_started', 'tilt', 0.5)", (AT,))
    return place


def _insert(connection: sqlite3.Connection, made: Window) -> None:
    row = (
        made.started_at, round(made.duration_s * 1000), made.frames_with_poses, made.persons, made.dropped,
        made.temperature_celsius, made.throttled,
    )  # fmt: skip
    minute = connection.execute("INSERT INTO minute VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
    for stage, durations in made.durations.items():
        if durations.counts:
            values = (minute, stage, durations.sum_us, durations.max_us)
            connection.execute("INSERT INTO duration VALUES (?, ?, ?, ?)", values)
            rows = [(minute, stage, *pair) for pair in durations.counts.items()]
            connection.executemany("INSERT INTO duration_bucket VALUES (?, ?, ?, ?)", rows)
    rows = [(minute, *pair) for pair in made.persons_a_frame.items()]
    connection.executemany("INSERT INTO persons VALUES (?, ?, ?)", rows)


def require_whole(root: Path, minutes: int = MINUTES) -> None:
    report = read_telemetry(root)
    assert list(report.windows) == [window(number).record() for number in range(minutes)]
    assert [(event.kind, event.subject, event.value) for event in report.events] == [
        ("drift_started", "tilt", 0.5)
    ]


def version_of(place: TelemetryPlace) -> int:
    with closing(sqlite3.connect(place.database)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_database_of_the_first_schema_is_migrated_whole_and_nothing_is_set_aside(tmp_path: Path) -> None:
    place = first_database(tmp_path)
    # It can be shown before a run migrates it, and showing changes nothing.
    require_whole(tmp_path)
    assert version_of(place) == 1
    store, events = open_or_renew(place, StoreLimits())
    assert events == []
    assert not place.damaged.exists()
    require_whole(tmp_path)
    assert version_of(place) == SCHEMA_VERSION
    store.add(window(MINUTES), [(AT, RuntimeEvent(kind="run_ended"))])
    store.close()
    assert list(read_telemetry(tmp_path).windows) == [window(n).record() for n in range(MINUTES + 1)]
    fresh = tmp_path / "fresh"
    filled_store(fresh, 0).close()
    # Both end with the very same tables, so that a next migration knows both.
    found = []
    for database in (place.database, TelemetryPlace(fresh).database):
        with closing(sqlite3.connect(database)) as connection:
            found.append(dict(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()))
    assert found[0] == found[1]


_STATEMENTS = len(schema._TO_2)


@pytest.mark.parametrize("done", range(_STATEMENTS + 1))
def test_a_power_cut_in_a_migration_leaves_the_former_database_whole(tmp_path: Path, done: int) -> None:
    place = first_database(tmp_path)

    def cut_off() -> Iterator[str]:
        yield from schema._TO_2[:done]
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        schema._STEPS = (schema._TO_1, cut_off())  # type: ignore[assignment]
        open_or_renew(place, StoreLimits())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert version_of(place) == 1
    require_whole(tmp_path)
    store, events = open_or_renew(place, StoreLimits())
    store.close()
    assert events == []
    assert version_of(place) == SCHEMA_VERSION
    require_whole(tmp_path)


def test_what_can_be_read_of_a_damaged_database_of_the_first_schema_is_saved(tmp_path: Path) -> None:
    place = first_database(tmp_path, 60)
    with closing(sqlite3.connect(place.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
    with place.database.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)
    store, events = open_or_renew(place, StoreLimits())
    store.close()
    assert [(event.kind, event.value) for event in events] == [("store_renewed", 60.0)]
    assert list(read_telemetry(tmp_path).windows) == [window(number).record() for number in range(60)]


# A figure that a later release adds: one row, and the fields of two records.
_NEXT_RELEASE = """
import sys
from pathlib import Path
import edgepose.device.monitor.window as w
from edgepose.records import telemetry_record as t

class Next(t.TelemetryWindow, frozen=True, kw_only=True):
    fan_rpm: int | None = None

fan = w.Figure("fan_rpm", "INTEGER CHECK ({0} >= 0)", "fan_rpm", "Of the fan.", adds_up=False, since=3)
fan = w.Figure("fan_rpm", "INTEGER CHECK ({0} >= 0)", "fan_rpm", "Of the fan.", adds_up=False, since=3)
w.FIGURES += (fan,)
w.Window.fan_rpm, w.TelemetryWindow, t.TelemetryWindow = None, Next, Next

from edgepose.device.monitor.reading import csv_text, read_telemetry
from edgepose.device.monitor.recorder import Recorder
from edgepose.device.monitor.schema import SCHEMA_VERSION
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from tests.support.telemetry import window

root, place = Path(sys.argv[1]), TelemetryPlace(Path(sys.argv[1]))
said = []
recorder = Recorder(place, StoreLimits(), said.append)
made = window(99)
made.fan_rpm = 4200
recorder.record(made, [])
recorder.close()
report = read_telemetry(root)
assert (SCHEMA_VERSION, said, place.damaged.exists()) == (3, [], False), said
assert [one.fan_rpm for one in report.windows] == [None] * 5 + [4200]
assert csv_text(report).splitlines()[0].count("fan_rpm") == 1
assert "edgepose_fan_rpm 4200" in place.prometheus.read_text()
"""


@pytest.mark.parametrize("made_by", ["first", "this"])
def test_a_new_figure_is_one_row_and_costs_no_stored_minute(tmp_path: Path, made_by: str) -> None:
    root = tmp_path / "root"
    if made_by == "first":
        first_database(root)
    else:
        filled_store(root, MINUTES).close()
    done = subprocess.run(
        [sys.executable, "-c", _NEXT_RELEASE, str(root)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def busy_minute(number: int) -> Window:
    """Thirty frames a second whose stages scatter as on a busy board: nine buckets each."""
    made = window(number, frames=1)
    for stage in TIMED_STAGES:
        counts = {30 + (number + step) % 12: 100 + step for step in range(9)}
        made.durations[stage] = DurationHistogram(counts, 1_800 * 25_000 + number, 60_000 + number)
    made.persons_a_frame = dict.fromkeys(range(9), 200 + number % 50)
    return made


_READ = """
import resource, sys
from pathlib import Path
from edgepose.device.monitor.reading import read_telemetry
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
windows = read_telemetry(Path(sys.argv[1])).windows
print((peak() - before) / len(windows))
"""


def _bytes_a_minute_to_read(root: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(root)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_thirty_days_fit_on_the_disk_and_in_memory(tmp_path: Path) -> None:
    """By what 3,000 minutes take: all 43,200 would take minutes of the test's time."""
    store = filled_store(tmp_path, 0)
    minutes = 3000
    with store.transaction() as connection:
        for number in range(minutes):
            telemetry_store._insert_window(connection, busy_minute(number))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store.close()
    # Reading holds the records alone: histograms of all minutes at once took 16 KiB a minute.
    assert _bytes_a_minute_to_read(tmp_path) < 6000
    limits = StoreLimits()
    assert limits.max_minutes == 30 * 1440
    assert pages / minutes * limits.max_minutes < limits.max_pages * telemetry_store._FULL_SHARE
    assert COLUMNS["duration_bucket"] == ("minute", "stage", "bucket", "frames")
