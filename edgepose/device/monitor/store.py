"""The telemetry database: where it lies, its closed schema and how former ones become it, its one writer.

```
ROOT/var/telemetry/                    mode 0700
ROOT/var/telemetry/telemetry.sqlite3   mode 0600, with SQLite's own -wal and -shm beside it
ROOT/var/telemetry/damaged.sqlite3     the last database that could not be read whole
ROOT/var/telemetry/writer.lock         held by the run that writes
ROOT/var/telemetry.prom                for whoever scrapes locally: mode 0640
```
All of it belongs to the user who runs the model; nobody else writes here (``require_own_var``).

Every column is a number, a date or one of a list of words. Tables are STRICT (SQLite 3.37 and later), so a
column of numbers takes no text and no bytes, and no column is declared for bytes or free text at all: a
picture or a list of coordinates has no place to go.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import Layout, make_var
from edgepose.device.monitor.window import BUCKETS, FIGURES, Window
from edgepose.errors import ConfigError
from edgepose.records.telemetry_record import (
    MANY_PERSONS,
    SUBJECT_LENGTH,
    TIMED_STAGES,
    RuntimeEvent,
)

SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class TelemetryPlace:
    """The paths.

    Attributes:
        root: The device root.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """Nobody else may look into it."""
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


# "edgp" in ASCII: file(1) and SQLite itself then know whose database this is.
APPLICATION_ID = 0x65646770
OLDEST_SQLITE = (3, 37, 0)

# A minute, its durations by stage and bucket, its frames by number of persons.
CHILD_TABLES = ("duration", "duration_bucket", "persons")
_DATE = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2)) + "T" + ":".join(["[0-9]" * 2] * 3) + "Z"


def _one_of(words: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


def _columns_of_minute(version: int) -> list[str]:
    return [f"{f.name} {f.column.format(f.name)}" for f in FIGURES if f.since == version]


# What each version began with stays here as it was: a word or a stage that comes later is a step of its own.
_STAGES_OF_1 = ("total", "detect", "preprocess", "infer", "decode")
_KINDS_OF_1 = (
    "run_started", "run_ended", "camera_restarted", "camera_frozen", "camera_size_changed", "camera_lost",
    "rate_lowered", "rate_restored", "drift_started", "drift_ended", "clock_changed", "telemetry_paused",
    "store_renewed",
)  # fmt: skip
_TO_1 = (
    ",\n  ".join(
        [
            """CREATE TABLE minute (
  id INTEGER PRIMARY KEY AUTOINCREMENT""",
            f"started_at TEXT NOT NULL CHECK (started_at GLOB '{_DATE}')",
            "duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0)",
            *_columns_of_minute(1),
        ]
    )
    + "\n) STRICT",
    f"""CREATE TABLE duration (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN {_one_of(_STAGES_OF_1)}),
  sum_us INTEGER NOT NULL CHECK (sum_us >= 0),
  max_us INTEGER NOT NULL CHECK (max_us >= 0),
  PRIMARY KEY (minute, stage)
) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE duration_bucket (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN {_one_of(_STAGES_OF_1)}),
  bucket INTEGER NOT NULL CHECK (bucket BETWEEN 0 AND {BUCKETS - 1}),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, stage, bucket)
) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE persons (
  minute INTEGER NOT NULL,
  persons INTEGER NOT NULL CHECK (persons BETWEEN 0 AND {MANY_PERSONS}),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, persons)
) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL CHECK (at GLOB '{_DATE}'),
  kind TEXT NOT NULL CHECK (kind IN {_one_of(_KINDS_OF_1)}),
  subject TEXT NOT NULL CHECK (length(subject) <= {SUBJECT_LENGTH} AND subject NOT GLOB '*[^a-z0-9_.-]*'),
  value REAL
) STRICT""",
)
_NUMBER_OF_STAGE = " ".join(f"WHEN '{stage}' THEN {n}" for n, stage in enumerate(_STAGES_OF_1))


def _with_numbered_stages(table: str, columns: dict[str, str], key: str) -> tuple[str, ...]:
    declared = "".join(
        f"  {name} INTEGER NOT NULL CHECK ({name} {check}),\n" for name, check in columns.items()
    )
    kept = ", ".join(columns)
    return (
        f"""CREATE TABLE new_{table} (
  minute INTEGER NOT NULL,
  stage INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 15),
{declared}  PRIMARY KEY ({key})
) STRICT, WITHOUT ROWID""",
        f"INSERT INTO new_{table} SELECT minute, CASE stage {_NUMBER_OF_STAGE} END, {kept} FROM {table}",  # noqa: S608
        f"DROP TABLE {table}",
        f"ALTER TABLE new_{table} RENAME TO {table}",
    )


_TO_2 = (
    *_with_numbered_stages("duration", {"sum_us": ">= 0", "max_us": ">= 0"}, "minute, stage"),
    *_with_numbered_stages(
        "duration_bucket",
        {"bucket": f"BETWEEN 0 AND {BUCKETS - 1}", "frames": "> 0"},
        "minute, stage, bucket",
    ),
)
# From each version to the next. A new database takes all steps, so that it ends with the very same tables.
_STEPS: tuple[tuple[str, ...], ...] = (
    _TO_1,
    # A stage is its number in TIMED_STAGES: as a word it was half of what a minute took, and the 30 days that
    # are promised did not fit.
    _TO_2,
    *(
        tuple(f"ALTER TABLE minute ADD COLUMN {column}" for column in _columns_of_minute(version))
        for version in range(3, max(figure.since for figure in FIGURES) + 1)
    ),
)
SCHEMA_VERSION = len(_STEPS)


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return dict(found)


def _tables_of(version: int) -> dict[str, str]:
    """Each table's statement as SQLite keeps it in a database of a version."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in itertools.chain.from_iterable(_STEPS[:version]):
            connection.execute(statement)
        return _tables(connection)


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The names of a table's columns, in their order; none where it is not there."""
    return tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


def _columns() -> dict[str, tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in TABLES.values():
            connection.execute(statement)
        return {table: columns_of(connection, table) for table in TABLES}


# An older SQLite knows no STRICT tables; that is said where telemetry begins.
TABLES = _tables_of(SCHEMA_VERSION) if sqlite3.sqlite_version_info >= OLDEST_SQLITE else {}
COLUMNS = _columns()


def insertion(table: str, *, skip: tuple[str, ...] = ()) -> str:
    """The statement that takes a row of a table.

    Args:
        table: A name of ``TABLES``.
        skip: Columns that SQLite fills.
    """
    names = [name for name in COLUMNS[table] if name not in skip]
    # Names come from the constants above, never from outside.
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


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
        max_events: Events.
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
            # All steps in one transaction: a power cut leaves the former version, whole.
            for statement in itertools.chain.from_iterable(_STEPS[_version(connection) :]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

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


def _version(connection: sqlite3.Connection) -> int:
    """Of a database of ours; 0 where it has no table yet.

    Raises:
        sqlite3.DatabaseError: Its tables are those of no version.
    """
    tables = _tables(connection)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables and not (0 < version <= SCHEMA_VERSION and tables == _tables_of(version)):
        raise sqlite3.DatabaseError("its tables are those of no version that this edgepose knows")
    return version if tables else 0


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
    """Refuses a damaged database.

    Raises:
        sqlite3.DatabaseError: It is one.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
