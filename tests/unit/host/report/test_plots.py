"""Plots put figures where their own scales say, and draw nothing that was not measured."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from edgepose.host.report.plot_bars import (
    Bar,
    Stack,
    WhiskerRow,
    bars,
    stacked_bars,
    whiskers,
)
from edgepose.host.report.plot_frame import WIDTH, Words, shortened, text_width_px
from edgepose.host.report.plot_lines import curve, thinned
from edgepose.host.report.plot_scatter import ScatterPoint, scatter
from tests.support.report_page import by_class, figure_at

WORDS = Words("Title <&>", "What is seen")


def read(markup: str) -> ET.Element:
    return ET.fromstring(markup)  # noqa: S314 (written by the code under test)


def number(one: ET.Element, name: str) -> float:
    return float(one.get(name) or "nan")


def corners(line: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (c.split(",") for c in (line.get("points") or "").split())]


def test_points_lie_where_the_scales_say_and_whiskers_end_there() -> None:
    point = ScatterPoint("a", 4.56, 0.519, (0.469, 0.569), best=True)
    other = ScatterPoint("b", 9.0, 0.6, None, best=True)
    plot = read(scatter([point, other], WORDS, ("ms", "AP")))
    first, second = by_class(plot, "point")
    for mark, x, y in ((first, 4.56, 0.519), (second, 9.0, 0.6)):
        assert figure_at(plot, number(mark, "cx"), "x") == pytest.approx(x, abs=0.01)
        assert figure_at(plot, number(mark, "cy"), "y") == pytest.approx(y, abs=0.001)
    stem = by_class(plot, "whisker")[0]
    ends = sorted(figure_at(plot, number(stem, name), "y") for name in ("y1", "y2"))
    assert ends == pytest.approx([0.469, 0.569], abs=0.001)
    assert len(by_class(plot, "whisker")) == 3
    assert figure_at(plot, number(by_class(plot, "tick-x")[0], "x"), "x") == 0.0


def test_a_beaten_point_is_hollow_and_not_on_the_line() -> None:
    points = [
        ScatterPoint("fast", 2.0, 0.5, None, best=True),
        ScatterPoint("beaten", 6.0, 0.45, None, best=False),
        ScatterPoint("good", 9.0, 0.7, None, best=True),
    ]
    plot = read(scatter(points, WORDS, ("ms", "AP")))
    places = {
        one.findtext("title"): (number(one, "cx"), number(one, "cy")) for one in by_class(plot, "point")
    }
    (line,) = by_class(plot, "best-line")
    assert corners(line)[0] == pytest.approx(places["fast"])
    assert corners(line)[-1] == pytest.approx(places["good"])
    assert places["beaten"] not in corners(line)
    assert [one.findtext("title") for one in by_class(plot, "beaten")] == ["beaten"]


def test_one_model_alone_has_no_line() -> None:
    plot = read(scatter([ScatterPoint("a", 2.0, 0.5, None, best=True)], WORDS, ("ms", "AP")))
    assert by_class(plot, "best-line") == []


def test_names_of_close_points_do_not_cover_each_other() -> None:
    points = [
        ScatterPoint(f"model number {i}", 5.0 + i / 50, 0.5 + i / 300, None, best=True) for i in range(4)
    ]
    plot = read(scatter([*points, ScatterPoint("far", 50.0, 0.9, None, best=True)], WORDS, ("ms", "AP")))
    boxes = [
        (number(one, "x"), number(one, "y"), number(one, "x") + text_width_px(one.text or ""))
        for one in by_class(plot, "name")
    ]
    assert len(boxes) == 5
    for i, (left, y, right) in enumerate(boxes):
        assert 0 <= left < right <= WIDTH
        for other_left, other_y, other_right in boxes[i + 1 :]:
            assert abs(y - other_y) >= 12 or right <= other_left or other_right <= left


def test_whiskers_are_drawn_against_zero_and_gaps_are_said() -> None:
    rows = [
        WhiskerRow("AP", -0.012, (-0.02, 0.004)),
        WhiskerRow("few", 0.03, None, sure=False),
        WhiskerRow("none", None, None),
    ]
    plot = read(whiskers(rows, WORDS, "difference"))
    (zero,) = by_class(plot, "zero")
    assert figure_at(plot, number(zero, "x1"), "x") == pytest.approx(0.0, abs=1e-6)
    dots = by_class(plot, "point")
    assert [figure_at(plot, number(dot, "cx"), "x") for dot in dots] == pytest.approx(
        [-0.012, 0.03], abs=1e-3
    )
    stem = by_class(plot, "whisker")[0]
    ends = [figure_at(plot, number(stem, name), "x") for name in ("x1", "x2")]
    assert ends == pytest.approx([-0.02, 0.004], abs=1e-3)
    assert [one.findtext("title") for one in by_class(plot, "beaten")] == ["few"]
    assert [one.text for one in by_class(plot, "absent")] == ["not measured"]


def test_bars_begin_at_zero_and_the_other_model_has_a_mark_of_its_own() -> None:
    plot = read(bars([Bar("nose", 0.9, (0.85, 0.95), 0.97), Bar("hip", None, None, None)], WORDS, "PCK"))
    (bar,) = by_class(plot, "bar")
    assert figure_at(plot, number(bar, "x"), "x") == pytest.approx(0.0, abs=1e-3)
    assert figure_at(plot, number(bar, "x") + number(bar, "width"), "x") == pytest.approx(0.9, abs=1e-3)
    (other,) = by_class(plot, "other")
    assert figure_at(plot, number(other, "x1"), "x") == pytest.approx(0.97, abs=1e-3)
    assert [one.text for one in by_class(plot, "absent")] == ["not measured"]


def test_stages_follow_each_other_and_add_up() -> None:
    stack = Stack("m", {"preprocess": 0.5, "infer": 3.9, "decode": None})
    plot = read(stacked_bars([stack], WORDS, "ms"))
    parts = [by_class(plot, f"part-{i}")[1] for i in range(3)]
    begins = [figure_at(plot, number(part, "x"), "x") for part in parts]
    assert begins == pytest.approx([0.0, 0.5, 4.4], abs=0.01)
    assert number(parts[2], "width") == 0.0


def test_a_long_log_is_thinned_and_keeps_its_end() -> None:
    places = [(float(step), 1 / (step + 1)) for step in range(5000)]
    shown = thinned(places)
    assert len(shown) <= 401
    assert (shown[0], shown[-1]) == (places[0], places[-1])
    plot = read(curve(places, WORDS, ("step", "loss")))
    assert by_class(plot, "point") == []
    assert len(by_class(read(curve(places[:5], WORDS, ("step", "loss"))), "point")) == 5


def test_a_shortened_name_keeps_both_ends() -> None:
    assert shortened("short", 100) == "short"
    long = shortened("edgepose-s_int8.tflite (8ec368c1)", 100)
    assert long.startswith("edge")
    assert long.endswith("c1)")
    assert text_width_px(long) <= 100
