"""How many frames a second a live source may cost: decided from heat and load alone, without a clock.

Under heat the device is asked for less before its firmware slows everything down, or when it already does.
Under load, where a frame takes longer than the camera leaves between two, the newest frame wins anyway, but
at uneven distances and with no time left for anybody else: an even rate that leaves a tenth free is better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

RateReason = Literal["heat", "load", "recovered"]


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
        temperature_celsius: The hottest zone; None where nobody knows.
        throttled: Whether the firmware slows down now; None where nobody knows.
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
        reason: Why there is a limit.
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
