"""Telemetry for people and files: read without changing anything, exported, deleted when asked."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from edgepose.device.monitor.schema import APPLICATION_ID, CHILD_TABLES, SCHEMA_VERSION, TABLES, columns_of
from edgepose.device.monitor.store import TelemetryPlace, with_side_files
from edgepose.device.monitor.window import FIGURES, DurationHistogram, Window
from edgepose.errors import ConfigError, DeviceError
from edgepose.records.files import write_whole
from edgepose.records.record import to_json
from edgepose.records.telemetry_record import (
    TIMED_STAGES,
    StoredEvent,
    TelemetryReport,
    TelemetryWindow,
    TimedStage,
)

_BUSY_S = 10.0


def read_telemetry(root: Path, minutes: int | None = None) -> TelemetryReport:
    """Reads the newest ``minutes`` windows, or all that is stored, also while a run writes.

    Raises:
        ConfigError: There is no telemetry.
        DeviceError: The database is damaged or may not be read.
    """
    place = TelemetryPlace(root)
    _require_database(place)
    try:
        address = f"file:{quote(str(place.database.absolute()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as connection:
            _require_ours(connection, place)
            # One transaction: a minute that is stored meanwhile is in all tables or in none.
            connection.execute("BEGIN")
            total, windows = Window(""), []
            for window in _windows(connection, minutes):
                total.merge(window)
                windows.append(window.record())
            rows = connection.execute("SELECT at, kind, subject, value FROM event ORDER BY id").fetchall()
    except sqlite3.Error as problem:
        raise _unreadable(place, problem) from problem
    events = tuple(StoredEvent(at=at, kind=kind, subject=what, value=size) for at, kind, what, size in rows)
    return TelemetryReport(
        root=str(root),
        size_bytes=place.size_bytes(),
        windows=tuple(windows),
        totals=total.totals() if windows else None,
        events=events,
    )


def purge_telemetry(root: Path) -> int:
    """Deletes all telemetry of a root: rows, the bytes they left, the write-ahead log, the Prometheus file.

    A run that goes on writes its current minute afterwards. What a flash memory keeps beneath the file system
    is out of reach.

    Returns:
        Bytes that are gone.

    Raises:
        ConfigError: There is no telemetry.
        DeviceError: It cannot be deleted.
    """
    place = TelemetryPlace(root)
    _require_database(place)
    before = place.size_bytes()
    try:
        try:
            _empty(place)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # What is damaged cannot be emptied; a run that has it open makes a fresh one.
            _remove(place.database)
        _remove(place.damaged)
        place.prometheus.unlink(missing_ok=True)
    except (sqlite3.Error, OSError) as problem:
        raise DeviceError(
            f"Cannot delete the telemetry in {place.folder}: {problem}.",
            "Stop the service and try again, as the user of the service.",
        ) from problem
    return before - place.size_bytes()


def _empty(place: TelemetryPlace) -> None:
    with closing(sqlite3.connect(place.database, timeout=_BUSY_S, isolation_level=None)) as connection:
        run = connection.execute
        run("PRAGMA secure_delete = ON")
        if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        run("BEGIN IMMEDIATE")
        tables = [name for (name,) in run("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in tables:
            run(f'DELETE FROM "{name}"')  # noqa: S608
        run("COMMIT")
        run("VACUUM")
        busy = run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise sqlite3.OperationalError("somebody reads it")


def _remove(database: Path) -> None:
    for path in with_side_files(database):
        path.unlink(missing_ok=True)


def _windows(connection: sqlite3.Connection, minutes: int | None) -> Iterator[Window]:
    """Oldest first, one at a time: a full database would take hundreds of MiB."""
    run = connection.execute
    (first,) = run(
        "SELECT min(id) FROM (SELECT id FROM minute ORDER BY id DESC LIMIT ?)",
        (-1 if minutes is None else minutes,),
    ).fetchone()
    there = set(columns_of(connection, "minute"))
    figures = [figure.name for figure in FIGURES if figure.name in there]
    # No row is without its minute: both are written, pruned and saved together.
    rows_of = {
        table: _Rows(run(f"SELECT * FROM {table} WHERE minute >= ? ORDER BY minute", (first,)))  # noqa: S608
        for table in CHILD_TABLES
    }
    chosen = ", ".join(["id", "started_at", "duration_ms", *figures])
    minute_rows = run(f"SELECT {chosen} FROM minute WHERE id >= ? ORDER BY id", (first,))  # noqa: S608
    for number, at, duration_ms, *values in minute_rows:
        window = Window(at, duration_ms / 1000)
        for name, value in zip(figures, values, strict=True):
            setattr(window, name, value)
        if window.throttled is not None:
            window.throttled = bool(window.throttled)
        for _, stage, sum_us, max_us in rows_of["duration"].of(number):
            window.durations[_stage(stage)] = DurationHistogram(None, sum_us, max_us)
        for _, stage, bucket, frames in rows_of["duration_bucket"].of(number):
            window.durations[_stage(stage)].counts[bucket] = frames
        for _, persons, frames in rows_of["persons"].of(number):
            window.persons_a_frame[persons] = frames
        yield window


class _Rows:
    """Rows in the order of their minutes, taken minute by minute."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, minute: int) -> Iterator[tuple[Any, ...]]:
        while self._next is not None and self._next[0] <= minute:
            if self._next[0] == minute:
                yield self._next
            self._next = next(self._rows, None)


def _stage(stored: int | str) -> TimedStage:
    """A number; in the first version's databases a word."""
    return TIMED_STAGES[stored] if isinstance(stored, int) else cast("TimedStage", stored)


def _require_database(place: TelemetryPlace) -> None:
    try:
        there = place.database.stat().st_size > 0
    except FileNotFoundError:
        there = False
    except OSError as problem:
        raise DeviceError(
            f"Cannot read {place.database}: {problem.strerror}.", "Be the user of the service, or root."
        ) from problem
    if not there:
        raise ConfigError(
            f"There is no telemetry in {place.root}.",
            "A run of an installed model, or the service, writes it; another root is named by --root.",
        )


def _require_ours(connection: sqlite3.Connection, place: TelemetryPlace) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or not 0 < version <= SCHEMA_VERSION:
        raise DeviceError(
            f"{place.database} has tables of version {version}; this edgepose reads those up to "
            f"{SCHEMA_VERSION}."
        )
    for name in TABLES:
        connection.execute(f"SELECT 1 FROM {name} LIMIT 1")  # noqa: S608


def _unreadable(place: TelemetryPlace, problem: sqlite3.Error) -> DeviceError:
    return DeviceError(
        f"Cannot read {place.database}: {problem}.",
        "A damaged one is renewed, and what can be read is kept, when the next run begins.",
    )


_PLAIN = [name for name in TelemetryWindow.__struct_fields__ if name not in {"stages", "persons_a_frame"}]
_FIGURES = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")


def export_telemetry(report: TelemetryReport, path: Path, kind: str) -> None:
    """Writes a report whole or not at all: ``json`` holds everything, ``csv`` a row a minute.

    Raises:
        ConfigError: It cannot be written.
    """
    text = to_json(report, indent=2) if kind == "json" else csv_text(report)
    write_whole(path, [text.encode()])


def csv_text(report: TelemetryReport) -> str:
    """RFC 4180 with a header; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*_PLAIN, *(f"{stage}_{name}" for stage in TIMED_STAGES for name in _FIGURES)])
    writer.writerows(_row(window) for window in report.windows)
    return stream.getvalue()


def _row(window: TelemetryWindow) -> list[object]:
    row = [getattr(window, name) for name in _PLAIN]
    for stage in TIMED_STAGES:
        figures = window.stages.get(stage)
        row += [None if figures is None else getattr(figures, name) for name in _FIGURES]
    return row
