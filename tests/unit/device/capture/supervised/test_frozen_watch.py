"""A camera that stands still is told from one whose picture hardly changes."""

from __future__ import annotations

import numpy as np

from edgepose.device.capture.supervised.serving import FrozenWatch


def _picture(level: int = 0) -> np.ndarray:
    picture = np.full((480, 640, 3), 90, np.uint8)
    # One pixel beside the rows that are looked at first.
    picture[37, 5, 1] = level
    return picture


def test_the_very_same_picture_is_frozen_once_after_the_limit() -> None:
    watch = FrozenWatch(10.0)
    said = [watch.looks(_picture(), float(second)) for second in range(30)]
    assert said.index(True) == 10
    assert sum(said) == 1


def test_one_pixel_that_changes_is_life() -> None:
    watch = FrozenWatch(10.0)
    assert not any(watch.looks(_picture(second % 7), float(second)) for second in range(100))


def test_after_a_change_it_can_freeze_again() -> None:
    watch = FrozenWatch(3.0)
    levels = [1] * 6 + [2] * 6
    said = [watch.looks(_picture(level), float(second)) for second, level in enumerate(levels)]
    assert sum(said) == 2
