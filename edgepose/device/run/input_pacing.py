"""How many frames a second a live source may cost, and an even rate of them.

Under heat the device is asked for less before its firmware slows everything down, or when it already does.
Under load, where a frame takes longer than the camera leaves between two, the newest frame wins anyway, but
at uneven distances and with no time left for anything else: an even rate that leaves a tenth free is better.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgepose.device.capture.frame_source import Frame
from edgepose.device.events import RateChange, RateReason
from edgepose.runtime import machine


@dataclass(frozen=True)
class RateOptions:
    """When to slow down, when to come back.

    Attributes:
        hot_celsius: From here on the rate falls. The Raspberry Pi's firmware slows its cores down from 80
            (its documentation, "Frequency management and thermal control"); others do so later.
        cool_celsius: From here down the rate may rise again.
        heat_step: The rate is multiplied by this for each window under heat.
        recovery_step: And by this for each window without.
        least_fps: The rate never falls below.
        busy_share: A frame that takes more than this share of the camera's interval is load.
        free_share: Share of the time that an even rate under load leaves free.
        calm_windows: So many windows without pressure come before each step back.
        least_change: Under load smaller changes of the rate are not worth one.
    """

    hot_celsius: float = 80.0
    cool_celsius: float = 75.0
    heat_step: float = 0.75
    recovery_step: float = 1.25
    least_fps: float = 1.0
    busy_share: float = 0.95
    free_share: float = 0.1
    calm_windows: int = 3
    least_change: float = 0.15


@dataclass(frozen=True)
class RateReading:
    """What a window of about two seconds was like.

    Attributes:
        camera_fps: Frames a second that the source delivers, dropped ones counted.
        frame_ms: Median time that the models and the hand-over took for a frame.
        temperature_celsius: The hottest zone; None where no one knows.
        throttled: Whether the firmware slows down now; None where no one knows.
    """

    camera_fps: float
    frame_ms: float
    temperature_celsius: float | None = None
    throttled: bool | None = None


@dataclass(frozen=True)
class RateState:
    """What was decided so far.

    Attributes:
        limit_fps: At most so many frames a second; None takes them all.
        calm_windows: Windows in a row without pressure.
    """

    limit_fps: float | None = None
    reason: RateReason = "recovered"
    calm_windows: int = 0


def next_rate(state: RateState, reading: RateReading, options: RateOptions) -> RateState:
    """Decides after each window."""
    if _is_hot(reading, options):
        rate = min(state.limit_fps or reading.camera_fps, reading.camera_fps) * options.heat_step
        return RateState(max(rate, options.least_fps), "heat")
    sustainable = 1e3 / max(reading.frame_ms, 1e-3)
    if reading.frame_ms > options.busy_share * 1e3 / reading.camera_fps:
        even_fps = max(sustainable * (1 - options.free_share), options.least_fps)
        return _under_load(state, even_fps, options, cool=_is_cool(reading, options))
    if state.limit_fps is None:
        return RateState()
    higher = _one_step_up(state, options, cool=_is_cool(reading, options))
    return RateState() if (higher.limit_fps or 0) >= reading.camera_fps else higher


def _under_load(state: RateState, even_fps: float, options: RateOptions, *, cool: bool) -> RateState:
    """An even rate; a lower limit that heat has set is only left step by step."""
    if state.reason == "heat" and state.limit_fps is not None and state.limit_fps < even_fps:
        higher = _one_step_up(state, options, cool=cool)
        return higher if (higher.limit_fps or 0) < even_fps else RateState(even_fps, "load")
    if state.limit_fps is not None and abs(even_fps / state.limit_fps - 1) < options.least_change:
        return replace(state, calm_windows=0)
    return RateState(even_fps, "load")


def _one_step_up(state: RateState, options: RateOptions, *, cool: bool) -> RateState:
    """After enough calm windows."""
    calm = state.calm_windows + 1 if cool else 0
    if calm < options.calm_windows:
        return replace(state, calm_windows=calm)
    return RateState((state.limit_fps or 0) * options.recovery_step, state.reason)


def _is_hot(reading: RateReading, options: RateOptions) -> bool:
    temperature = reading.temperature_celsius
    return bool(reading.throttled) or (temperature is not None and temperature >= options.hot_celsius)


def _is_cool(reading: RateReading, options: RateOptions) -> bool:
    temperature = reading.temperature_celsius
    return not reading.throttled and (temperature is None or temperature <= options.cool_celsius)


_WINDOW_NS = 2_000_000_000


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
        """Takes the time that a frame took; tells when the rate changes."""
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
