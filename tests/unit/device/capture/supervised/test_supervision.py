"""When a camera is opened again: soon, but never more than five times a minute; and when it is given up."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.capture.supervised.supervision import CaptureLimits, Supervision

_LIMITS = CaptureLimits()


def _starts_of_a_dead_camera(supervision: Supervision, until_s: float) -> list[float]:
    """A camera that fails as soon as it is opened; the clock goes in quarters of a second."""
    starts, now_s = [], 0.0
    supervision.ended(now_s)
    while now_s < until_s:
        now_s += 0.25
        decision = supervision.decide(now_s)
        if decision == "give_up":
            break
        if decision == "start":
            starts.append(now_s)
            supervision.started(now_s)
            supervision.ended(now_s)
    return starts


def test_a_camera_that_delivers_is_left_alone() -> None:
    supervision = Supervision(_LIMITS, 0.0)
    for second in range(1000):
        assert supervision.alive(float(second)) is None
        assert supervision.decide(second + 0.9) == "wait"


def test_an_open_camera_without_frames_is_killed_after_its_limit() -> None:
    supervision = Supervision(_LIMITS, 0.0)
    supervision.alive(1.0)
    assert supervision.decide(1.0 + _LIMITS.silence_s) == "wait"
    assert supervision.decide(1.1 + _LIMITS.silence_s) == "kill"


def test_a_camera_that_does_not_open_is_killed_after_its_limit() -> None:
    supervision = Supervision(_LIMITS, 0.0)
    assert supervision.decide(_LIMITS.open_s) == "wait"
    assert supervision.decide(_LIMITS.open_s + 0.1) == "kill"


def test_a_lost_camera_is_opened_again_after_a_second_and_its_outage_is_known() -> None:
    supervision = Supervision(_LIMITS, 0.0)
    supervision.alive(1.0)
    supervision.ended(2.0)
    assert supervision.decide(2.9) == "wait"
    assert supervision.decide(3.0) == "start"
    supervision.started(3.0)
    assert supervision.alive(5.0) == 4.0
    assert supervision.alive(5.5) is None


def test_never_more_than_five_restarts_in_any_minute() -> None:
    supervision = Supervision(replace(_LIMITS, give_up_s=None), 0.0)
    starts = _starts_of_a_dead_camera(supervision, 600.0)
    assert len(starts) >= 25
    for first in starts:
        assert sum(first <= start < first + 60.0 for start in starts) <= 5


def test_a_camera_that_comes_back_is_looked_for_at_least_every_31_seconds() -> None:
    supervision = Supervision(replace(_LIMITS, give_up_s=None), 0.0)
    starts = _starts_of_a_dead_camera(supervision, 600.0)
    gaps = [later - earlier for earlier, later in zip([0.0, *starts], starts, strict=False)]
    assert max(gaps) <= 31.0


def test_a_camera_that_delivered_is_given_up_after_a_minute_and_one_that_never_did_at_once() -> None:
    delivered = Supervision(_LIMITS, 0.0)
    delivered.alive(0.0)
    delivered.ended(0.0)
    assert delivered.decide(59.0) != "give_up"
    assert delivered.decide(60.1) == "give_up"
    never = Supervision(_LIMITS, 0.0)
    never.ended(1.0)
    assert never.decide(1.0) == "give_up"


def test_patience_never_gives_up() -> None:
    supervision = Supervision(replace(_LIMITS, give_up_s=None), 0.0)
    supervision.ended(1.0)
    assert supervision.decide(1e6) == "start"


@given(st.lists(st.tuples(st.floats(0.01, 30.0), st.sampled_from(["alive", "died"])), max_size=80))
def test_whatever_happens_there_are_at_most_five_restarts_a_minute(steps: list[tuple[float, str]]) -> None:
    supervision, now_s, running = Supervision(_LIMITS, 0.0), 0.0, True
    starts: list[float] = []
    for pause_s, what in steps:
        now_s += pause_s
        decision = supervision.decide(now_s)
        if running and (what == "died" or decision == "kill"):
            supervision.ended(now_s)
            running = False
        elif running:
            supervision.alive(now_s)
        elif decision == "start":
            supervision.started(now_s)
            starts.append(now_s)
            running = True
        assert sum(start > now_s - 60.0 for start in starts) <= 5
