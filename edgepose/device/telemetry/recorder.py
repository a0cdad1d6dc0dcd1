"""Brings windows to the database and to the Prometheus file; never fails, at worst it pauses."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edgepose.device.telemetry.place import TelemetryPlace, prepare_folder
from edgepose.device.telemetry.prometheus import Exposure, prometheus_text
from edgepose.device.telemetry.renewal import is_damage, open_or_renew
from edgepose.device.telemetry.schema import OLDEST_SQLITE
from edgepose.device.telemetry.store import StoreLimits, TelemetryStore
from edgepose.device.telemetry.window import Window
from edgepose.spec.telemetry_record import EventKind, RuntimeEvent
from edgepose.spec.whole_file import PRIVATE, temporary_beside

# While the disk is full so many windows wait; a disk that is full for longer costs the oldest.
_WAITING = 120
_PROMETHEUS_MODE = 0o640

DatedEvent = tuple[str, RuntimeEvent]
_Batch = tuple[Window | None, list[DatedEvent]]


class Recorder:
    """Used by one thread.

    Args:
        place: Where telemetry lies.
        limits: How much is kept.
        say: Takes a line for people when something changes for the worse or the better.
    """

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
        # Somebody may have deleted or replaced the file, which SQLite would not notice.
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
    """Ends with the process, whatever ends it.

    Raises:
        OSError: Another run writes here.
    """
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
    """Whole or not at all for whoever reads, but not flushed: after a power cut a new run writes it anew."""
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
