"""What happens to a run beside its frames, told at once to all listeners: camera, input rate, drift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from edgepose.records.record import Record
from edgepose.records.telemetry_record import EventKind, RuntimeEvent

CaptureEventKind = Literal["lost", "recovered", "frozen", "size_changed"]
RateReason = Literal["heat", "load", "recovered"]

_CAMERA_EVENTS: dict[CaptureEventKind, EventKind] = {
    "lost": "camera_lost",
    "recovered": "camera_restarted",
    "frozen": "camera_frozen",
    "size_changed": "camera_size_changed",
}


class CaptureEvent(Record, frozen=True, kw_only=True):
    """Something that a live source went through.

    Attributes:
        kind: ``lost`` (no frames any more; it is being opened again), ``recovered`` (frames again),
            ``frozen`` (the same image again and again), ``size_changed``.
        reason: In words.
        outage_s: How long no frame came, for ``recovered``.
    """

    kind: CaptureEventKind
    reason: str
    outage_s: float | None = None

    def as_event(self) -> RuntimeEvent:
        """Without the words, in which an address may stand."""
        return RuntimeEvent(kind=_CAMERA_EVENTS[self.kind], value=self.outage_s)


class RateChange(Record, frozen=True, kw_only=True):
    """The input rate changed.

    Attributes:
        frame: Number of the frame from which it holds.
        limit_fps: At most so many frames a second; None takes them all again.
        reason: ``heat``, ``load`` or ``recovered``.
        frame_ms: Median time of a frame before the change.
        temperature_celsius: Then; None where it is not known.
    """

    frame: int
    limit_fps: float | None
    reason: RateReason
    frame_ms: float
    temperature_celsius: float | None = None

    def as_event(self) -> RuntimeEvent:
        """For telemetry and the page."""
        kind: EventKind = "rate_restored" if self.limit_fps is None else "rate_lowered"
        return RuntimeEvent(kind=kind, subject=self.reason, value=self.limit_fps)


class EventBus:
    """Passes events on in the thread that publishes them; all listeners subscribe before the run begins."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[RuntimeEvent], None]] = []

    def subscribe(self, listener: Callable[[RuntimeEvent], None]) -> None:
        """Adds a listener, which any thread may call and which must not wait."""
        self._listeners.append(listener)

    def publish(self, event: RuntimeEvent) -> None:
        """Tells every listener."""
        for listener in self._listeners:
            listener(event)
