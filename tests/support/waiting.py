"""Waiting for what happened, not for a moment: how tests wait for other processes and threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

Found = TypeVar("Found")
# Reached by real failures alone: nothing here takes a second on an idle machine.
PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.01


def until(
    condition: Callable[[], Found],
    what: str,
    *,
    last: Callable[[], object] | None = None,
    limit_s: float = PATIENCE_S,
) -> Found:
    """Waits until a condition is true.

    Args:
        condition: What is looked at again and again; it may raise where waiting longer is of no use.
        what: What is waited for, for people.
        last: What else is shown when it does not come; by default what the condition returned last.
        limit_s: When it will not come any more.

    Returns:
        The condition's first true value.
    """
    limit = time.monotonic() + limit_s
    while True:
        # Asked first: whatever is true after the last look counts.
        late = time.monotonic() > limit
        found = condition()
        if found:
            return found
        if late:
            seen = found if last is None else last()
            pytest.fail(f"after {limit_s:.0f} s still not: {what}; seen last: {seen!r}")
        time.sleep(_LOOK_EVERY_S)


def growing_pauses(first_s: float = 0.25) -> Iterator[float]:
    """Pauses, each twice as long as the one before, for what is true of a long enough pause alone.

    How much happens in a given time depends on how busy this machine is; that it happens in some time does
    not.
    """
    pause_s = first_s
    while pause_s < PATIENCE_S / 2:
        yield pause_s
        pause_s *= 2
