"""Brings windows to the database and to the Prometheus file; never fails, at worst it pauses.

A damaged database is set aside, and what can be read of it goes into a fresh one. Prometheus's names and
units follow https://prometheus.io/docs/practices/naming/, its format
https://prometheus.io/docs/instrumenting/exposition_formats/; node_exporter's textfile collector reads it and
refuses time stamps, so there are none.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgepose import __version__
from edgepose.device.monitor.schema import CHILD_TABLES, COLUMNS, OLDEST_SQLITE, columns_of, insertion
from edgepose.device.monitor.store import (
    StoreLimits,
    TelemetryPlace,
    TelemetryStore,
    prepare_folder,
    with_side_files,
)
from edgepose.device.monitor.window import BOUNDS_MS, FIGURES, DurationHistogram, Window
from edgepose.records.files import PRIVATE, temporary_beside
from edgepose.records.telemetry_record import TIMED_STAGES, EventKind, RuntimeEvent

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
    there = columns_of(damaged, table)
    columns = ", ".join(name if name in there else "NULL" for name in COLUMNS[table])
    stage = COLUMNS[table].index("stage") if "stage" in COLUMNS[table] else None
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{key.strip()} {direction}" for key in _KEYS[table].split(","))
        try:
            for row in damaged.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):  # noqa: S608
                if stage is not None and row[stage] in TIMED_STAGES:
                    # The first version has words.
                    row = (*row[:stage], TIMED_STAGES.index(row[stage]), *row[stage + 1 :])  # noqa: PLW2901
                yield row
        except sqlite3.DatabaseError:
            continue
        return


# Every second octave is enough for an alarm: 0.25 ms to 16 s.
_EXPOSED_BUCKETS = range(8, 73, 8)


@dataclass(frozen=True)
class Exposure:
    """What is exposed.

    Attributes:
        total: Everything since this run began.
        last: The last window that ended, None before.
        events: Number of events by kind since this run began.
        paused: Whether windows cannot be stored now.
    """

    total: Window
    last: Window | None
    events: Mapping[EventKind, int]
    paused: bool


def prometheus_text(exposure: Exposure) -> str:
    """The file's content."""
    total, last = exposure.total, exposure.last
    lines = [
        *_family("build_info", "gauge", "What runs.", [(f'{{version="{__version__}"}}', 1)]),
        *_counter("frames_total", "Frames processed since this run began.", total.frames),
        *_figures("counter", total),
        *_gauge("running_seconds", "Time that this run counted.", round(total.duration_s, 3)),
        *_gauge("telemetry_paused", "1 while windows cannot be stored.", int(exposure.paused)),
        *_family(
            "events_total",
            "counter",
            "Events since this run began.",
            [(f'{{kind="{kind}"}}', count) for kind, count in sorted(exposure.events.items())],
        ),
        *_durations(total),
    ]
    if last is not None:
        lines += _gauge("frames_per_second", "Frames a second in the last window.", last.record().fps)
        lines += _figures("gauge", last)
    return "\n".join(lines) + "\n"


def _figures(kind: Literal["counter", "gauge"], window: Window) -> list[str]:
    """Those that add up as counters since the run began, the others as gauges of a window."""
    lines = []
    for figure in FIGURES:
        value = getattr(window, figure.name)
        if figure.adds_up == (kind == "counter") and value is not None:
            number = int(value) if isinstance(value, bool) else value
            lines += _family(figure.exposed, kind, figure.meaning, [("", number)])
    return lines


def _counter(name: str, text: str, value: float) -> list[str]:
    return _family(name, "counter", text, [("", value)])


def _gauge(name: str, text: str, value: float) -> list[str]:
    return _family(name, "gauge", text, [("", value)])


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    rows = [f"edgepose_{name}{labels} {value}" for labels, value in samples]
    return [f"# HELP edgepose_{name} {text}", f"# TYPE edgepose_{name} {kind}", *rows] if rows else []


def _durations(total: Window) -> list[str]:
    lines = [
        "# HELP edgepose_stage_duration_seconds Time of a stage; total is from the capture to the poses.",
        "# TYPE edgepose_stage_duration_seconds histogram",
    ]
    for stage, durations in total.durations.items():
        lines += _histogram(f'stage="{stage}"', durations)
    return lines


def _histogram(label: str, durations: DurationHistogram) -> list[str]:
    name = "edgepose_stage_duration_seconds"
    rows = [
        f'{name}_bucket{{{label},le="{BOUNDS_MS[bucket] / 1000:g}"}} '
        f"{sum(count for index, count in durations.counts.items() if index <= bucket)}"
        for bucket in _EXPOSED_BUCKETS
    ]
    return [
        *rows,
        f'{name}_bucket{{{label},le="+Inf"}} {durations.count}',
        f"{name}_sum{{{label}}} {durations.sum_us / 1e6}",
        f"{name}_count{{{label}}} {durations.count}",
    ]


# While the disk is full so many windows wait; a disk that is full for longer costs the oldest.
_WAITING = 120
_PROMETHEUS_MODE = 0o640

DatedEvent = tuple[str, RuntimeEvent]
_Batch = tuple[Window | None, list[DatedEvent]]


class Recorder:
    """Used by one thread."""

    def __init__(self, place: TelemetryPlace, limits: StoreLimits, say: Callable[[str], None]) -> None:
        self._place, self._limits, self._say = place, limits, say
        self._store: TelemetryStore | None = None
        self._inode: int | None = None
        self._lock_descriptor: int | None = None
        self._waiting: deque[_Batch] = deque()
        self._lost = 0
        self._paused = False
        self._total = Window("")
        self._last: Window | None = None
        self._events: Counter[EventKind] = Counter()

    def record(self, window: Window | None, events: Sequence[DatedEvent]) -> None:
        """Stores a window and events, or keeps them for the next time."""
        if window is not None:
            self._total.merge(window)
            self._last = window
        self._events.update(event.kind for _, event in events)
        self._waiting.append((window, list(events)))
        while len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._store_waiting(at=_newest_date(window, events))
        self._expose()

    def close(self) -> None:
        """Closes the database; what could not be stored by now is lost."""
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
            self._store = None
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def _store_waiting(self, at: str) -> None:
        try:
            for attempt in (1, 2):
                try:
                    self._try_storing(at)
                    break
                except sqlite3.DatabaseError as problem:
                    # Damaged while it was open: renewed at once, but only once.
                    self._forget_store()
                    if attempt == 2 or not is_damage(problem):
                        raise
        except (sqlite3.Error, OSError) as problem:
            self._forget_store()
            if not self._paused:
                self._say(f"Telemetry pauses, poses go on: {problem}. It is tried again every minute.")
            self._paused = True

    def _try_storing(self, at: str) -> None:
        store = self._open_store(at)
        while self._waiting:
            store.add(*self._waiting[0])
            self._waiting.popleft()
        if self._paused:
            event = RuntimeEvent(kind="telemetry_paused", value=float(self._lost))
            self._events[event.kind] += 1
            store.add(None, [(at, event)])
            self._say(f"Telemetry goes on; {self._lost} minutes were lost.")
            self._paused, self._lost = False, 0

    def _open_store(self, at: str) -> TelemetryStore:
        # Someone may have deleted or replaced the file, which SQLite would not notice.
        if self._store is not None and self._inode == _inode(self._place.database):
            return self._store
        self._forget_store()
        if self._lock_descriptor is None:
            self._lock_descriptor = _take_lock(self._place)
        self._store, events = open_or_renew(self._place, self._limits)
        self._inode = _inode(self._place.database)
        for event in events:
            self._say(
                f"The telemetry database was damaged and lies in {self._place.damaged} now; "
                f"{event.value:.0f} minutes were saved into a fresh one."
            )
            self._events[event.kind] += 1
        self._store.add(None, [(at, event) for event in events])
        return self._store

    def _forget_store(self) -> None:
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
        self._store = None

    def _expose(self) -> None:
        text = prometheus_text(Exposure(self._total, self._last, self._events, self._paused))
        # Where this cannot be written, the database cannot either, which has been said.
        with suppress(OSError):
            _replace(self._place, text.encode())


def require_sqlite() -> str | None:
    """Why this machine's SQLite cannot keep telemetry; None where it can."""
    if sqlite3.sqlite_version_info >= OLDEST_SQLITE:
        return None
    oldest = ".".join(map(str, OLDEST_SQLITE[:2]))
    return f"needs SQLite {oldest} or later, found {sqlite3.sqlite_version}"


def _newest_date(window: Window | None, events: Sequence[DatedEvent]) -> str:
    return events[-1][0] if events else window.started_at if window is not None else "1970-01-01T00:00:00Z"


def _take_lock(place: TelemetryPlace) -> int:
    """Ends with the process, whatever ends it; an OSError where another run writes here."""
    prepare_folder(place)
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        os.close(descriptor)
        raise OSError(f"another run writes telemetry in {place.folder}") from problem
    return descriptor


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _replace(place: TelemetryPlace, content: bytes) -> None:
    """Whole or not at all for who reads, but not flushed: after a power cut a new run writes it anew."""
    path = place.prometheus
    temporary = temporary_beside(path)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), _PROMETHEUS_MODE)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
