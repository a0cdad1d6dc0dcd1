"""The filters of BlazePose, against the published filter written out for one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.run.blazepose import BODY, CROP, FilterOptions, PointFilter, VisibilityFilter

numbers = st.lists(st.tuples(st.floats(-900, 900), st.floats(0.001, 0.5)), min_size=1, max_size=12)


class OneNumber:
    """Casiez et al. 2012 with MediaPipe's two habits: speed between raw values, in sizes a second."""

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self.min_cutoff, self.beta = min_cutoff, beta
        self.raw: float | None = None
        self.shown = self.speed = 0.0

    def next(self, value: float, size: float, elapsed: float) -> float:
        if self.raw is None:
            self.shown = value
        else:
            self.speed = self._mix(1.0, elapsed, (value - self.raw) / size / elapsed, self.speed)
            cutoff = self.min_cutoff + self.beta * abs(self.speed)
            self.shown = self._mix(cutoff, elapsed, value, self.shown)
        self.raw = value
        return self.shown

    @staticmethod
    def _mix(cutoff: float, elapsed: float, new: float, old: float) -> float:
        alpha = 1 / (1 + (1 / (2 * math.pi * cutoff)) / elapsed)
        return alpha * new + (1 - alpha) * old


@pytest.mark.parametrize("options", [BODY, CROP])
@given(steps=numbers, size=st.floats(1, 2000))
def test_points_are_smoothed_as_the_formula_says(
    options: FilterOptions, steps: list[tuple[float, float]], size: float
) -> None:
    ours, x, y = PointFilter(options), *(OneNumber(options.min_cutoff_hz, options.gain) for _ in range(2))
    time_ns = 0
    for value, step_s in steps:
        before_ns, time_ns = time_ns, time_ns + round(step_s * 1e9)
        elapsed = (time_ns - before_ns) / 1e9
        shown = ours.update(np.array([[value, -2 * value]]), size, time_ns)
        expected = [x.next(value, size, elapsed), y.next(-2 * value, size, elapsed)]
        assert shown[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_crop_is_steadier_than_the_body() -> None:
    moved = []
    for options in (BODY, CROP):
        steady = PointFilter(options)
        steady.update(np.zeros((1, 2)), 100, 0)
        moved.append(float(steady.update(np.ones((1, 2)), 100, 33_000_000)[0, 0]))
    assert 0 < moved[1] < moved[0] < 1


def test_a_moment_that_does_not_advance_is_passed_through_and_forgotten() -> None:
    steady, other = PointFilter(BODY), PointFilter(BODY)
    for each in (steady, other):
        each.update(np.zeros((1, 2)), 100, 1_000)
    assert steady.update(np.full((1, 2), 50.0), 100, 1_000).tolist() == [[50, 50]]
    later = [each.update(np.ones((1, 2)), 100, 40_000_000).tolist() for each in (steady, other)]
    assert later[0] == later[1]


def test_after_a_reset_nothing_is_known() -> None:
    steady = PointFilter(BODY)
    steady.update(np.zeros((1, 2)), 100, 0)
    steady.reset()
    assert steady.update(np.full((1, 2), 9.0), 100, 33_000_000).tolist() == [[9, 9]]


def test_visibility_takes_a_tenth_of_what_is_new() -> None:
    steady = VisibilityFilter()
    assert steady.update(np.array([1.0])).tolist() == [1.0]
    assert steady.update(np.array([0.0])) == pytest.approx([0.9])
    assert steady.update(np.array([0.0])) == pytest.approx([0.81])
    steady.reset()
    assert steady.update(np.array([0.0])).tolist() == [0.0]
