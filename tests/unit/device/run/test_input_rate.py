"""When a live source is asked for less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.capture.frame_source import Frame
from edgepose.device.run.input_pacing import (
    Heat,
    InputPacer,
    RateChange,
    RateOptions,
    RateReading,
    RateState,
    next_rate,
)

_OPTIONS = RateOptions()
_PICTURE = np.zeros((2, 2, 3), np.uint8)


def _windows(readings: list[RateReading], state: RateState | None = None) -> list[RateState]:
    states, state = [], state or RateState()
    for reading in readings:
        state = next_rate(state, reading, _OPTIONS)
        states.append(state)
    return states


def test_a_cool_machine_with_time_to_spare_takes_every_frame() -> None:
    assert _windows([RateReading(30, 10, 60, throttled=False)] * 5)[-1] == RateState()
    assert _windows([RateReading(30, 10)] * 5)[-1] == RateState(), "no sensor is no heat"


@pytest.mark.parametrize("hot", [RateReading(30, 10, 82), RateReading(30, 10, 60, throttled=True)])
def test_heat_lowers_the_rate_window_by_window_down_to_the_least(hot: RateReading) -> None:
    limits = [state.limit_fps or 0.0 for state in _windows([hot] * 30)]
    assert limits[0] == 22.5
    assert limits[-1] == _OPTIONS.least_fps
    assert limits == sorted(limits, reverse=True)


def test_after_the_heat_the_rate_comes_back_slowly_and_wholly() -> None:
    hot = _windows([RateReading(30, 10, 85)] * 4)[-1]
    warm = _windows([RateReading(30, 10, 78)] * 20, hot)[-1]
    assert warm.limit_fps == hot.limit_fps, "between cool and hot nothing changes"
    cooled = _windows([RateReading(30, 10, 60)] * 30, hot)
    assert [s.limit_fps for s in cooled[:2]] == [hot.limit_fps] * 2
    assert cooled[2].limit_fps == pytest.approx((hot.limit_fps or 0) * 1.25)
    assert cooled[-1] == RateState()


def test_load_sets_an_even_rate_with_a_tenth_free() -> None:
    state = _windows([RateReading(30, 50)])[-1]
    assert state.limit_fps == pytest.approx(18.0)
    assert state.reason == "load"
    # A little more or less is not worth a change; much more is.
    assert _windows([RateReading(30, 53)], state)[-1].limit_fps == pytest.approx(18.0)
    assert _windows([RateReading(30, 100)], state)[-1].limit_fps == pytest.approx(9.0)
    assert _windows([RateReading(30, 20)] * 30, state)[-1] == RateState()


def test_load_does_not_lift_a_limit_of_heat_at_once_but_it_does_not_keep_it_for_ever() -> None:
    hot = RateState(5.0, "heat")
    assert _windows([RateReading(30, 50, 78)] * 9, hot)[-1].limit_fps == 5.0
    cooled = _windows([RateReading(30, 50, 60)] * 40, hot)[-1]
    assert cooled.limit_fps == pytest.approx(18.0)
    assert cooled.reason == "load"


@given(
    st.lists(
        st.builds(
            RateReading,
            st.floats(1, 240),
            st.floats(0, 5000),
            st.none() | st.floats(-40, 130),
            st.none() | st.booleans(),
        ),
        max_size=30,
    )
)
def test_the_rate_is_never_below_the_least_nor_without_a_reason(readings: list[RateReading]) -> None:
    for state in _windows(readings):
        assert state.limit_fps is None or state.limit_fps >= _OPTIONS.least_fps * 0.999
        assert (state.limit_fps is None) == (state.reason == "recovered")


def _film(
    pacer: InputPacer, seconds: float, frame_ms: float, fps: float = 30.0
) -> tuple[int, list[RateChange]]:
    """Frames that pass, of 30 a second, and what was decided."""
    passed, changes, fps = 0, [], 30.0
    for index in range(round(seconds * fps)):
        frame = Frame(_PICTURE, round(index * 1e9 / fps), index)
        if not pacer.admits(frame):
            continue
        passed += 1
        change = pacer.measured(frame, frame_ms)
        changes += [] if change is None else [change]
    return passed, changes


def test_a_hot_machine_lets_fewer_frames_pass_and_says_so() -> None:
    hot = InputPacer(heat=lambda: Heat(85.0, throttled=None))
    passed, changes = _film(hot, 10, frame_ms=10)
    assert passed < 250
    assert {change.reason for change in changes} == {"heat"}
    assert changes[0].temperature_celsius == 85.0
    # Negative control: a cool one lets all pass.
    assert _film(InputPacer(heat=lambda: Heat(50.0, throttled=None)), 10, frame_ms=10) == (300, [])


def test_frames_under_load_pass_at_the_rate_that_was_decided() -> None:
    pacer = InputPacer(heat=lambda: Heat(None, None))
    _film(pacer, 3, frame_ms=50)
    passed = [
        index for index in range(300) if pacer.admits(Frame(_PICTURE, round((10 + index / 30) * 1e9), index))
    ]
    assert len(passed) == pytest.approx(180, abs=3)
    assert set(np.diff(passed).tolist()) <= {1, 2}
