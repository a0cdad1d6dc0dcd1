"""A damaged database is set aside, and what can be read of it goes into a fresh one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress

from edgepose.device.telemetry.place import TelemetryPlace, prepare_folder, with_side_files
from edgepose.device.telemetry.schema import CHILD_TABLES, COLUMNS, insertion
from edgepose.device.telemetry.store import StoreLimits, TelemetryStore
from edgepose.spec.telemetry_record import RuntimeEvent

_KEYS = {
    "minute": "id",
    "duration": "minute, stage",
    "duration_bucket": "minute, stage, bucket",
    "persons": "minute, persons",
    "event": "id",
}


def open_or_renew(place: TelemetryPlace, limits: StoreLimits) -> tuple[TelemetryStore, list[RuntimeEvent]]:
    """Opens the database; a damaged one, or one of another version, makes way for a fresh one.

    Returns:
        The store, and the event that it was renewed, with the number of minutes that were saved.

    Raises:
        sqlite3.OperationalError: The disk is full or busy: nothing was set aside.
        OSError: The folder cannot be used.
    """
    prepare_folder(place)
    try:
        return TelemetryStore(place.database, limits), []
    except sqlite3.DatabaseError as problem:
        if not is_damage(problem):
            raise
        set_aside(place)
    prepare_folder(place)
    store = TelemetryStore(place.database, limits)
    saved = _take_over(place, store)
    return store, [RuntimeEvent(kind="store_renewed", value=float(saved))]


def is_damage(problem: sqlite3.Error) -> bool:
    """Whether an error speaks of the file's content, and not of a full disk or another process."""
    if isinstance(problem, sqlite3.OperationalError):
        return str(problem).startswith(("unsupported file format", "malformed"))
    return isinstance(problem, sqlite3.DatabaseError)


def set_aside(place: TelemetryPlace) -> None:
    """Renames the database with its write-ahead log; one that was set aside before makes way.

    Raises:
        OSError: It cannot be renamed.
    """
    pairs = zip(with_side_files(place.database), with_side_files(place.damaged), strict=True)
    for old, new in pairs:
        new.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            old.rename(new)


def _take_over(place: TelemetryPlace, store: TelemetryStore) -> int:
    """Copies every row that can be read and that the schema takes; returns the number of minutes."""
    saved = 0
    with suppress(sqlite3.Error):
        damaged = sqlite3.connect(place.damaged, timeout=1.0, isolation_level=None)
        try:
            with store.transaction() as connection:
                for table in COLUMNS:
                    for row in _readable_rows(damaged, table):
                        with suppress(sqlite3.IntegrityError, sqlite3.DataError):
                            connection.execute(insertion(table), row)
                for table in CHILD_TABLES:
                    connection.execute(f"DELETE FROM {table} WHERE minute NOT IN (SELECT id FROM minute)")  # noqa: S608
                saved = int(connection.execute("SELECT count(*) FROM minute").fetchone()[0])
        finally:
            damaged.close()
    return saved


def _readable_rows(damaged: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """From the front to the first damage, then from the back; a row may come twice."""
    columns = ", ".join(COLUMNS[table])
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{key.strip()} {direction}" for key in _KEYS[table].split(","))
        try:
            yield from damaged.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")  # noqa: S608
        except sqlite3.DatabaseError:
            continue
        return
