"""The closed schema of the telemetry database: every column is a number, a date or one of a list of words.

Tables are STRICT (SQLite 3.37 and later), so a column of numbers takes no text and no bytes, and no column is
declared for bytes or free text at all: a picture or a list of coordinates has no place to go.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.device.telemetry.duration_histogram import BUCKETS
from edgepose.spec.telemetry_record import EVENT_KINDS, MANY_PERSONS, SUBJECT_LENGTH, TIMED_STAGES

# "edgp" in ASCII: file(1) and SQLite itself then know whose database this is.
APPLICATION_ID = 0x65646770
SCHEMA_VERSION = 1
OLDEST_SQLITE = (3, 37, 0)

# A minute, its durations by stage and bucket, its frames by number of persons.
CHILD_TABLES = ("duration", "duration_bucket", "persons")
_DATE = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2)) + "T" + ":".join(["[0-9]" * 2] * 3) + "Z"


def _one_of(words: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


TABLES: dict[str, str] = {
    "minute": f"""CREATE TABLE minute (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at TEXT NOT NULL CHECK (started_at GLOB '{_DATE}'),
  duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
  frames_with_poses INTEGER NOT NULL CHECK (frames_with_poses >= 0),
  persons INTEGER NOT NULL CHECK (persons >= 0),
  dropped INTEGER NOT NULL CHECK (dropped >= 0),
  temperature_celsius REAL CHECK (temperature_celsius BETWEEN -273.15 AND 1000),
  throttled INTEGER CHECK (throttled IN (0, 1))
) STRICT""",
    "duration": f"""CREATE TABLE duration (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN {_one_of(TIMED_STAGES)}),
  sum_us INTEGER NOT NULL CHECK (sum_us >= 0),
  max_us INTEGER NOT NULL CHECK (max_us >= 0),
  PRIMARY KEY (minute, stage)
) STRICT, WITHOUT ROWID""",
    "duration_bucket": f"""CREATE TABLE duration_bucket (
  minute INTEGER NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN {_one_of(TIMED_STAGES)}),
  bucket INTEGER NOT NULL CHECK (bucket BETWEEN 0 AND {BUCKETS - 1}),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, stage, bucket)
) STRICT, WITHOUT ROWID""",
    "persons": f"""CREATE TABLE persons (
  minute INTEGER NOT NULL,
  persons INTEGER NOT NULL CHECK (persons BETWEEN 0 AND {MANY_PERSONS}),
  frames INTEGER NOT NULL CHECK (frames > 0),
  PRIMARY KEY (minute, persons)
) STRICT, WITHOUT ROWID""",
    "event": f"""CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL CHECK (at GLOB '{_DATE}'),
  kind TEXT NOT NULL CHECK (kind IN {_one_of(EVENT_KINDS)}),
  subject TEXT NOT NULL CHECK (length(subject) <= {SUBJECT_LENGTH} AND subject NOT GLOB '*[^a-z0-9_.-]*'),
  value REAL
) STRICT""",
}

COLUMNS: dict[str, tuple[str, ...]] = {
    "minute": (
        "id", "started_at", "duration_ms", "frames_with_poses", "persons", "dropped", "temperature_celsius",
        "throttled",
    ),
    "duration": ("minute", "stage", "sum_us", "max_us"),
    "duration_bucket": ("minute", "stage", "bucket", "frames"),
    "persons": ("minute", "persons", "frames"),
    "event": ("id", "at", "kind", "subject", "value"),
}  # fmt: skip


def insertion(table: str, *, skip: tuple[str, ...] = ()) -> str:
    """The statement that takes a row of a table.

    Args:
        table: A name of ``TABLES``.
        skip: Columns that SQLite fills.
    """
    names = [name for name in COLUMNS[table] if name not in skip]
    # Names come from the constants above, never from outside.
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
