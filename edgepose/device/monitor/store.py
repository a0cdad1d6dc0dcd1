"""The telemetry database: where it lies, and its one writer.

```
ROOT/var/telemetry/                    mode 0700
ROOT/var/telemetry/telemetry.sqlite3   mode 0600, with SQLite's own -wal and -shm beside it
ROOT/var/telemetry/damaged.sqlite3     the last database that could not be read whole
ROOT/var/telemetry/writer.lock         held by the run that writes
ROOT/var/telemetry.prom                for whoever scrapes locally: mode 0640
```
All of it belongs to the user who runs the model; no one else writes here (``require_own_var``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import Layout, make_var
from edgepose.device.monitor.schema import CHILD_TABLES, insertion, migrate
from edgepose.device.monitor.window import FIGURES, Window
from edgepose.errors import ConfigError
from edgepose.records.telemetry_record import TIMED_STAGES, RuntimeEvent

SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class TelemetryPlace:
    """The paths."""

    root: Path

    @property
    def folder(self) -> Path:
        """No one else may look into it."""
        return Layout(self.root).var / "telemetry"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "telemetry.sqlite3"

    @property
    def damaged(self) -> Path:
        """A database that was set aside."""
        return self.folder / "damaged.sqlite3"

    @property
    def lock(self) -> Path:
        """Held by the one writer."""
        return self.folder / "writer.lock"

    @property
    def prometheus(self) -> Path:
        """The newest figures as text."""
        return Layout(self.root).var / "telemetry.prom"

    def size_bytes(self) -> int:
        """Of the database with its side files and the one set aside."""
        files = [with_side_files(path) for path in (self.database, self.damaged)]
        return sum(path.stat().st_size for group in files for path in group if path.is_file())


def with_side_files(database: Path) -> list[Path]:
    """A database and the names of the files that SQLite keeps beside it."""
    return [database, *(database.with_name(database.name + suffix) for suffix in SIDE_FILES)]


def prepare_folder(place: TelemetryPlace) -> None:
    """Makes the folder and an empty database that only this user can read.

    SQLite gives its side files the owner and mode of the database.

    Raises:
        OSError: They cannot be made.
    """
    try:
        make_var(place.root)
    except ConfigError as problem:
        raise OSError(problem.message) from problem
    place.folder.mkdir(mode=0o700, exist_ok=True)
    place.folder.chmod(0o700)
    descriptor = os.open(place.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


_PAGE_BYTES = 4096
_MIB = 1 << 20
# The write-ahead log may take this part of all bytes beside the database.
_LOG_SHARE = 8
# From this share of the pages on the oldest minutes make room.
_FULL_SHARE = 0.9
_MINUTES_A_DAY = 1440


@dataclass(frozen=True)
class StoreLimits:
    """How much is kept: whatever comes first.

    Attributes:
        max_bytes: Database and write-ahead log together, at least 512 KiB.
        max_minutes: Minutes of running, not of the calendar: a clock that jumps deletes nothing.
    """

    max_bytes: int = 64 * _MIB
    max_minutes: int = 30 * _MINUTES_A_DAY
    max_events: int = 10_000

    @property
    def max_pages(self) -> int:
        """Of the database."""
        return (self.max_bytes - self.max_bytes // _LOG_SHARE) // _PAGE_BYTES


class TelemetryStore:
    """Adds a minute in one transaction, which survives a power cut once ``add`` has returned.

    Args:
        path: The database; an empty file becomes one.
        limits: How much is kept.

    Raises:
        sqlite3.Error: It is damaged, full, or no database of this version.
    """

    def __init__(self, path: Path, limits: StoreLimits) -> None:
        self._limits = limits
        self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        try:
            self._prepare()
            _require_whole(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def add(self, window: Window | None, events: Sequence[tuple[str, RuntimeEvent]]) -> None:
        """Stores a window and events with the date at which they happened.

        Raises:
            sqlite3.Error: Nothing of it was stored.
        """
        with self.transaction() as connection:
            # First, so that there is room.
            self._prune(connection)
            if window is not None:
                _insert_window(connection, window)
            rows = [(at, event.kind, event.subject, event.value) for at, event in events]
            connection.executemany(insertion("event", skip=("id",)), rows)
        self._connection.execute("PRAGMA incremental_vacuum").fetchall()

    def transaction(self) -> _Transaction:
        """All or nothing."""
        return _Transaction(self._connection)

    def close(self) -> None:
        """Closes the database, which takes the write-ahead log into it."""
        self._connection.close()

    def _prepare(self) -> None:
        run = self._connection.execute
        # Both only work before the first table is made.
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        # NORMAL would not flush the log at a commit: a power cut would take minutes that were said to be
        # stored. FULL costs one flush a minute, in a thread that no frame waits for.
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA trusted_schema = OFF")
        run(f"PRAGMA max_page_count = {self._limits.max_pages}")
        log_bytes = self._limits.max_bytes // _LOG_SHARE
        run(f"PRAGMA journal_size_limit = {log_bytes}")
        run(f"PRAGMA wal_autocheckpoint = {max(log_bytes // 2 // _PAGE_BYTES, 1)}")
        with self.transaction() as connection:
            migrate(connection)

    def _prune(self, connection: sqlite3.Connection) -> None:
        """The oldest go first, by the order in which they came and not by any clock."""
        keep_events = self._limits.max_events
        connection.execute("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (keep_events,))
        while True:
            oldest, newest = connection.execute("SELECT min(id), max(id) FROM minute").fetchone()
            if oldest is None:
                return
            kept = newest - oldest + 1
            too_many = max(kept - self._limits.max_minutes, 0)
            too_full = kept // 64 + 1 if self._is_full(connection) else 0
            # The newest minute stays in any case.
            limit = min(oldest + max(too_many, too_full), newest)
            if limit == oldest:
                return
            connection.execute("DELETE FROM minute WHERE id < ?", (limit,))
            for table in CHILD_TABLES:
                connection.execute(f"DELETE FROM {table} WHERE minute < ?", (limit,))  # noqa: S608

    def _is_full(self, connection: sqlite3.Connection) -> bool:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        return bool(pages - free > self._limits.max_pages * _FULL_SHARE)


class _Transaction:
    """``with``: commits, or rolls back where something was raised."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, error_type: object, *_: object) -> None:
        if error_type is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            # A full disk or a damaged file has rolled it back already.
            self._connection.execute("ROLLBACK")


def _insert_window(connection: sqlite3.Connection, window: Window) -> None:
    figures = [getattr(window, figure.name) for figure in FIGURES]
    cursor = connection.execute(
        insertion("minute", skip=("id",)), (window.started_at, round(window.duration_s * 1000), *figures)
    )
    minute = cursor.lastrowid
    for stage, durations in window.durations.items():
        if not durations.counts:
            continue
        number = TIMED_STAGES.index(stage)
        connection.execute(insertion("duration"), (minute, number, durations.sum_us, durations.max_us))
        rows = [(minute, number, bucket, frames) for bucket, frames in sorted(durations.counts.items())]
        connection.executemany(insertion("duration_bucket"), rows)
    persons = [(minute, persons, frames) for persons, frames in sorted(window.persons_a_frame.items())]
    connection.executemany(insertion("persons"), persons)


def _require_whole(connection: sqlite3.Connection) -> None:
    """Refuses a damaged database."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
