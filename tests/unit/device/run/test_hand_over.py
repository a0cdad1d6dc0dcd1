"""Nothing is lost, nothing overtakes, nobody waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from edgepose.device.run.stages import HandOver
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.timing


def test_everything_arrives_in_order_whoever_is_faster() -> None:
    for taker_waits in (0.0, 0.0005):
        between: HandOver[int] = HandOver(2)

        def give_all(target: HandOver[int]) -> None:
            for number in range(200):
                assert target.give(number)
            target.end()

        giver = threading.Thread(target=give_all, args=(between,))
        giver.start()
        taken = []
        while (number := between.take()) is not None:
            taken.append(number)
            time.sleep(taker_waits)
        giver.join(PATIENCE_S)
        assert taken == list(range(200))


def test_the_giver_waits_for_room() -> None:
    between: HandOver[int] = HandOver(1)
    between.give(1)
    giver = threading.Thread(target=between.give, args=(2,))
    giver.start()
    until(lambda: between._change._waiters, "the giver waits")  # type: ignore[attr-defined]
    assert giver.is_alive()
    assert between.take() == 1
    giver.join(PATIENCE_S)
    assert not giver.is_alive()
    assert between.take() == 2


def test_the_end_wakes_both_sides() -> None:
    between: HandOver[int] = HandOver(1)
    between.give(1)
    answers: list[bool] = []
    giver = threading.Thread(target=lambda: answers.append(between.give(2)))
    giver.start()
    until(lambda: between._change._waiters, "the giver waits")  # type: ignore[attr-defined]
    between.end()
    giver.join(PATIENCE_S)
    assert answers == [False]
    assert between.take() == 1, "what was given before the end can still be taken"
    assert between.take() is None


def test_taking_gives_up_after_the_time_asked_for() -> None:
    start = time.monotonic()
    assert HandOver(1).take(0.05) is None
    assert time.monotonic() - start > 0.04
