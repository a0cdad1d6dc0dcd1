"""Carries out what :mod:`edgepose.device.pipelining.input_rate` decides: lets frames pass at an even rate."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from edgepose.device.capture.frame import Frame
from edgepose.device.pipelining.input_rate import (
    RateOptions,
    RateReading,
    RateReason,
    RateState,
    next_rate,
)
from edgepose.inference import machine
from edgepose.spec.records import Record

_WINDOW_NS = 2_000_000_000


class RateChange(Record, frozen=True, kw_only=True):
    """The input rate changed.

    Attributes:
        frame: Number of the frame from which it holds.
        limit_fps: At most so many frames a second; None takes them all again.
        reason: ``heat``, ``load`` or ``recovered``.
        frame_ms: Median time of a frame before the change.
        temperature_celsius: Then; None where nobody knows.
    """

    frame: int
    limit_fps: float | None
    reason: RateReason
    frame_ms: float
    temperature_celsius: float | None = None


@dataclass(frozen=True)
class Heat:
    """What the machine says about its heat; None where it says nothing."""

    temperature_celsius: float | None
    throttled: bool | None


def heat_of_this_machine() -> Heat:
    """Asks the kernel."""
    return Heat(machine.temperature_celsius(), machine.throttled())


class InputPacer:
    """Lets frames of a live source pass.

    Args:
        heat: Asked every two seconds.
        options: When to slow down.
    """

    def __init__(
        self, heat: Callable[[], Heat] = heat_of_this_machine, options: RateOptions | None = None
    ) -> None:
        self._heat = heat
        self._options = options or RateOptions()
        self._state = RateState()
        self._due_ns = 0
        self._window_start_ns: int | None = None
        self._delivered = 0
        self._frame_ms: list[float] = []

    def admits(self, frame: Frame) -> bool:
        """Whether the models look at this frame."""
        if self._window_start_ns is None:
            self._window_start_ns = frame.timestamp_ns
        else:
            self._delivered += 1 + frame.dropped_before
        limit_fps = self._state.limit_fps
        if limit_fps is None:
            return True
        if frame.timestamp_ns < self._due_ns:
            return False
        period_ns = round(1e9 / limit_fps)
        # Late frames do not earn a burst of early ones.
        self._due_ns = max(self._due_ns + period_ns, frame.timestamp_ns + period_ns // 2)
        return True

    def measured(self, frame: Frame, frame_ms: float) -> RateChange | None:
        """Takes the time that a frame took; tells when the rate changes.

        Args:
            frame: The frame.
            frame_ms: What models and hand-over took.
        """
        self._frame_ms.append(frame_ms)
        start_ns = frame.timestamp_ns if self._window_start_ns is None else self._window_start_ns
        elapsed_ns = frame.timestamp_ns - start_ns
        if elapsed_ns < _WINDOW_NS:
            return None
        heat = self._heat()
        reading = RateReading(
            camera_fps=self._delivered * 1e9 / elapsed_ns,
            frame_ms=statistics.median(self._frame_ms),
            temperature_celsius=heat.temperature_celsius,
            throttled=heat.throttled,
        )
        self._window_start_ns, self._delivered, self._frame_ms = frame.timestamp_ns, 0, []
        before, self._state = self._state, next_rate(self._state, reading, self._options)
        if before.limit_fps == self._state.limit_fps:
            return None
        return self._change(frame, reading)

    def _change(self, frame: Frame, reading: RateReading) -> RateChange:
        limit_fps = self._state.limit_fps
        return RateChange(
            frame=frame.index + 1,
            limit_fps=None if limit_fps is None else round(limit_fps, 2),
            reason=self._state.reason,
            frame_ms=round(reading.frame_ms, 3),
            temperature_celsius=reading.temperature_celsius,
        )
