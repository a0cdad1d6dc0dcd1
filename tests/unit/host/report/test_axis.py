"""Scales hold every figure, begin and end at round ones, and survive damaged figures."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgepose.host.report.plot_frame import drawable, drawable_interval, round_axis

FIGURES = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(FIGURES, min_size=1, max_size=8))
def test_every_figure_lies_on_its_scale_in_order(values: list[float]) -> None:
    axis = round_axis(values, (50.0, 400.0))
    places = [axis.place_px(value) for value in sorted(values)]
    assert all(49.99 <= place <= 400.01 for place in places)
    assert places == sorted(places)
    assert 2 <= len(axis.ticks) <= 12
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)


def test_figures_that_hardly_differ_are_one_figure() -> None:
    assert round_axis([0.0, 1.7e-176], (0.0, 1.0)).ticks == round_axis([0.0], (0.0, 1.0)).ticks
    assert len(round_axis([1e8, 1e8 + 1e-4], (0.0, 1.0)).ticks) >= 2


def test_ticks_are_round_and_labels_have_the_decimals_they_need() -> None:
    axis = round_axis([0.0, 0.93], (0.0, 100.0))
    assert [axis.label(tick) for tick in axis.ticks] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [axis.place_px(tick) for tick in axis.ticks] == [0, 20, 40, 60, 80, 100]
    small = round_axis([-0.0021, 0.0004], (0.0, 1.0))
    assert all(float(small.label(tick)) == tick for tick in small.ticks)


def test_an_upright_scale_grows_upwards() -> None:
    axis = round_axis([0.2, 0.6], (300.0, 20.0))
    assert axis.place_px(0.6) < axis.place_px(0.2)


def test_damaged_figures_are_not_drawn_and_do_not_move_the_scale() -> None:
    assert [drawable(x) for x in (None, math.nan, math.inf, 1e300, 0.5)] == [None, None, None, None, 0.5]
    assert drawable_interval((0.1, math.nan)) is None
    assert drawable_interval((0.4, 0.1)) == (0.1, 0.4)
    assert round_axis([math.nan, 1e300, 1.0, 2.0], (0, 1)) == round_axis([1.0, 2.0], (0, 1))
    assert round_axis([], (0, 1)).ticks == round_axis([0.0, 1.0], (0, 1)).ticks
