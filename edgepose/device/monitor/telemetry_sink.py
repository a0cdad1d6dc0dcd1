"""Telemetry as an output of the run: counting in the frame's time, storing in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgepose.device.monitor.recorder import DatedEvent, Recorder, require_sqlite
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from edgepose.device.monitor.window import Window
from edgepose.device.output.pose_sink import FrameResult
from edgepose.errors import DeviceError
from edgepose.records.telemetry_record import RuntimeEvent
from edgepose.runtime import machine

# A wall clock that leaves the monotonic one by more was set, not adjusted.
CLOCK_JUMP_S = 120.0
_CLOSE_LIMIT_S = 15.0
_MANY_EVENTS = 1000


@dataclass(frozen=True)
class Clocks:
    """Where time comes from.

    Attributes:
        monotonic_ns: Measures; no one sets it.
        now: The wall clock: a label.
    """

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


@dataclass(frozen=True)
class TelemetryOptions:
    """How telemetry is kept."""

    window_s: float = 60.0
    limits: StoreLimits = field(default_factory=StoreLimits)
    clocks: Clocks = field(default_factory=Clocks)


class TelemetrySink:
    """Counts frames; once a minute a thread stores the counts, also while no frame comes.

    Nothing of a frame but its figures is kept, and the thread is handed nothing else.

    Raises:
        DeviceError: This machine's SQLite is too old.
    """

    def __init__(
        self, root: Path, say: Callable[[str], None], options: TelemetryOptions | None = None
    ) -> None:
        if (problem := require_sqlite()) is not None:
            raise DeviceError(f"Telemetry {problem}.", "Run it with --no-telemetry.")
        self._options = options or TelemetryOptions()
        self._recorder = Recorder(TelemetryPlace(root), self._options.limits, say)
        self._change = threading.Lock()
        self._stop = threading.Event()
        self._events: list[DatedEvent] = []
        self._window, self._start_ns, self._start_wall_s = self._begun()
        self.note(RuntimeEvent(kind="run_started"))
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def write(self, result: FrameResult) -> None:
        """Counts a frame."""
        with self._change:
            self._window.count(result)

    def note(self, event: RuntimeEvent) -> None:
        """Takes an event; any thread may call it."""
        at = _date(self._options.clocks.now())
        with self._change:
            # Something that happens all the time must not fill the memory until the window ends.
            if len(self._events) < _MANY_EVENTS:
                self._events.append((at, event))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (what was counted is true in any case)
        """Stores the last window; closing twice is harmless."""
        if self._stop.is_set():
            return
        self.note(RuntimeEvent(kind="run_ended"))
        self._stop.set()
        self._thread.join(_CLOSE_LIMIT_S)

    def _run(self) -> None:
        # The file is there, and its troubles are said, when the run begins and not a minute later.
        self._recorder.record(None, self._taken_events())
        while not self._stop.wait(self._options.window_s):
            self._end_window()
        self._end_window()
        self._recorder.close()

    def _end_window(self) -> None:
        begun = self._begun()
        with self._change:
            ended, start_ns, start_wall_s = self._window, self._start_ns, self._start_wall_s
            self._window, self._start_ns, self._start_wall_s = begun
        ended.duration_s = (begun[1] - start_ns) / 1e9
        ended.temperature_celsius = machine.temperature_celsius()
        ended.throttled = machine.throttled()
        jump_s = begun[2] - start_wall_s - ended.duration_s
        if abs(jump_s) > CLOCK_JUMP_S:
            self.note(RuntimeEvent(kind="clock_changed", value=round(jump_s)))
        self._recorder.record(ended, self._taken_events())

    def _begun(self) -> tuple[Window, int, float]:
        now = self._options.clocks.now()
        return Window(_date(now)), self._options.clocks.monotonic_ns(), now.timestamp()

    def _taken_events(self) -> list[DatedEvent]:
        with self._change:
            taken, self._events = self._events, []
        return taken


def _date(now: datetime) -> str:
    return now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
