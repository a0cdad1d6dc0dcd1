"""The closed schema of the telemetry database, and how databases of former ones become it.

Every column is a number, a date or one of a list of words. Tables are STRICT (SQLite 3.37 and later), so a
column of numbers takes no text and no bytes, and no column is declared for bytes or free text at all: a
image or a list of coordinates has no place to go.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing

from edgepose.device.monitor.window import BUCKETS, FIGURES
from edgepose.records.telemetry_record import MANY_PERSONS, SUBJECT_LENGTH

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
    """The statement that takes a row of a table of ``TABLES``; SQLite fills the columns in ``skip``."""
    names = [name for name in COLUMNS[table] if name not in skip]
    # Names come from the constants above, never from outside.
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def migrate(connection: sqlite3.Connection) -> None:
    """Makes the tables, or brings those of a former version up to this one.

    Args:
        connection: In a transaction, so that a power cut leaves the former version, whole.

    Raises:
        sqlite3.DatabaseError: Its tables are those of no version.
    """
    for statement in itertools.chain.from_iterable(_STEPS[_version(connection) :]):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


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
