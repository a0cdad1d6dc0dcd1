"""What the database takes, refuses and keeps, on real files."""

from __future__ import annotations

import re
import sqlite3
import stat
from pathlib import Path

import pytest

from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.recorder import open_or_renew
from edgepose.device.monitor.schema import COLUMNS, TABLES
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.telemetry import filled_store, window

AT = "2026-03-01T08:00:00Z"


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 3)
    store.add(None, [(AT, RuntimeEvent(kind="drift_started", subject="brightness", value=0.31))])
    report = read_telemetry(tmp_path)
    assert list(report.windows) == [window(number).record() for number in range(3)]
    assert [(e.kind, e.subject, e.value) for e in report.events] == [("drift_started", "brightness", 0.31)]
    assert report.totals is not None
    assert (report.totals.frames, report.totals.duration_s) == (90, 180.0)
    store.close()
    # Closed, the log is gone into the database; nothing else changes.
    assert read_telemetry(tmp_path).windows == report.windows
    assert read_telemetry(tmp_path, minutes=1).windows == report.windows[-1:]


def test_files_and_folder_are_the_users_alone(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 1)
    place = TelemetryPlace(tmp_path)
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"telemetry.sqlite3", "telemetry.sqlite3-wal"} <= set(modes)
    store.close()


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    place = TelemetryPlace(tmp_path)
    place.folder.mkdir(mode=0o755, parents=True)
    place.database.touch(mode=0o644)
    filled_store(tmp_path, 1).close()
    assert stat.S_IMODE(place.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


def test_no_column_can_take_a_picture_a_coordinate_or_free_text() -> None:
    """The words of the schema are listed here once more: whoever adds one has to think about it."""
    assert {name for columns in COLUMNS.values() for name in columns} == {
        "id", "started_at", "duration_ms", "frames_with_poses", "persons", "dropped", "temperature_celsius",
        "throttled", "minute", "stage", "sum_us", "max_us", "bucket", "frames", "at", "kind", "subject",
        "value",
    }  # fmt: skip
    for statement in TABLES.values():
        assert statement.rstrip().endswith(("STRICT", "STRICT, WITHOUT ROWID"))
        assert not re.search(r"\b(BLOB|ANY)\b", statement)
        for column in re.findall(r"^  \w+ TEXT.*$", statement, re.MULTILINE):
            assert "CHECK" in column


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("event", "subject", "left_wrist 123.4,567.8"),
        ("event", "subject", "x" * 65),
        ("event", "subject", b"\x89PNG"),
        ("event", "kind", "anything"),
        ("event", "value", "[[1, 2]]"),
        ("event", "at", "yesterday"),
        ("minute", "dropped", "12 at 3,4"),
        ("minute", "temperature_celsius", b"\x00\x01"),
        ("minute", "started_at", "2026-03-01"),
        ("duration_bucket", "bucket", 10_000),
        ("persons", "persons", 500),
    ],
)
def test_a_value_of_another_kind_is_refused(tmp_path: Path, table: str, column: str, value: object) -> None:
    good: dict[str, dict[str, object]] = {
        "event": {"at": AT, "kind": "drift_started", "subject": "blur", "value": 1.0},
        "minute": {
            "started_at": AT, "duration_ms": 1, "frames_with_poses": 0, "persons": 0, "dropped": 0,
            "temperature_celsius": 40.0, "throttled": 0,
        },
        "duration_bucket": {"minute": 1, "stage": 0, "bucket": 3, "frames": 1},
        "persons": {"minute": 1, "persons": 1, "frames": 1},
    }  # fmt: skip
    store = filled_store(tmp_path, 0)

    def insert(row: dict[str, object]) -> None:
        statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608
        with store.transaction() as connection:
            connection.execute(statement, [*row.values()])

    insert(good[table])
    with pytest.raises(sqlite3.IntegrityError):
        insert({**good[table], column: value, **({"minute": 2} if "minute" in good[table] else {})})
    store.close()


def test_a_failed_minute_leaves_nothing_behind(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 1)
    with pytest.raises(sqlite3.IntegrityError):
        store.add(window(1), [("not a date", RuntimeEvent(kind="run_started"))])
    assert len(read_telemetry(tmp_path).windows) == 1
    store.add(window(2), [])
    assert [w.started_at for w in read_telemetry(tmp_path).windows] == [
        window(0).started_at, window(2).started_at,
    ]  # fmt: skip
    store.close()


def test_the_oldest_minutes_make_room_and_the_files_stay_below_the_limit(tmp_path: Path) -> None:
    limits = StoreLimits(max_bytes=512 << 10)
    store = filled_store(tmp_path, 0, limits)
    largest = 0
    for number in range(1500):
        store.add(window(number), [])
        largest = max(largest, TelemetryPlace(tmp_path).size_bytes() - _shared_memory_bytes(tmp_path))
    assert largest <= limits.max_bytes
    windows = read_telemetry(tmp_path).windows
    assert 300 < len(windows) < 1500
    assert windows[-1] == window(1499).record()
    assert [w.started_at for w in windows] == sorted(w.started_at for w in windows)
    store.close()


def _shared_memory_bytes(root: Path) -> int:
    """The index of the log is memory that has a name; it is never flushed to the disk."""
    return (TelemetryPlace(root).folder / "telemetry.sqlite3-shm").stat().st_size


def test_without_a_limit_the_same_minutes_take_more(tmp_path: Path) -> None:
    """Negative control of the test above."""
    store = filled_store(tmp_path, 1500)
    store.close()
    assert TelemetryPlace(tmp_path).size_bytes() > 512 << 10


def test_minutes_and_events_beyond_the_retention_go(tmp_path: Path) -> None:
    limits = StoreLimits(max_minutes=10, max_events=4)
    store = filled_store(tmp_path, 25, limits)
    for number in range(9):
        store.add(None, [(AT, RuntimeEvent(kind="clock_changed", value=float(number)))])
    report = read_telemetry(tmp_path)
    assert [w.started_at for w in report.windows] == [window(n).started_at for n in range(15, 25)]
    assert [event.value for event in report.events] == [4, 5, 6, 7, 8]
    store.close()


def test_a_clock_that_jumps_by_a_year_deletes_and_reorders_nothing(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 2)
    for number, year in ((2, "2027"), (3, "1970"), (4, "2026")):
        jumped = window(number)
        jumped.started_at = year + jumped.started_at[4:]
        store.add(jumped, [])
    assert [w.started_at[:4] for w in read_telemetry(tmp_path).windows] == [
        "2026",
        "2026",
        "2027",
        "1970",
        "2026",
    ]
    store.close()


def test_a_commit_is_flushed_and_deleted_bytes_are_overwritten(tmp_path: Path) -> None:
    store, _ = open_or_renew(TelemetryPlace(tmp_path), StoreLimits())
    ask = store._connection.execute
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ask("PRAGMA synchronous").fetchone() == (2,)
    assert ask("PRAGMA secure_delete").fetchone() == (1,)
    assert ask("PRAGMA auto_vacuum").fetchone() == (2,)
    store.close()


def test_the_store_opens_again_where_it_was(tmp_path: Path) -> None:
    filled_store(tmp_path, 2).close()
    store, events = open_or_renew(TelemetryPlace(tmp_path), StoreLimits())
    assert events == []
    store.add(window(2), [])
    store.close()
    assert len(read_telemetry(tmp_path).windows) == 3
