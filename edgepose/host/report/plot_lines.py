"""Plots over steps or time: a training's curve, and the speed and heat of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.errors import ConfigError
from edgepose.host.report.markup import STYLE, Markup, element, joined
from edgepose.host.report.plot_frame import (
    WIDTH,
    Axis,
    Words,
    drawable,
    drawing,
    label,
    round_axis,
    scale_x,
    scale_y,
    standalone,
)
from edgepose.records.benchmark_report import BenchmarkReport

_LEFT, _RIGHT, _TOP, _HEIGHT, _GAP = 52.0, WIDTH - 24, 34.0, 84.0, 40.0
_CURVE_HEIGHT, _CURVE_BOTTOM = 220.0, 172.0
# More corners than the drawing has units across cannot be seen.
_MOST_CORNERS = 400
_MOST_DOTS = 40
# Fewer pieces are no course of time.
FEWEST_POINTS = 5
_MINUTES_FROM_S = 300.0
_CURVES = ("curve", "second-curve", "third-curve")


def curve(places: Sequence[tuple[float, float]], words: Words, names: tuple[str, str]) -> Markup:
    """The plot; few measurements are also dots, so that the line between them is not taken for one.

    Places are step and figure, in order, at least one, all finite; names are across, then upwards.
    """
    shown = thinned(places)
    across = round_axis([0.0, *(step for step, _ in shown)], (_LEFT, _RIGHT), ticks=4)
    upwards = round_axis([figure for _, figure in shown], (_CURVE_BOTTOM, _TOP), ticks=4)
    corners = [(across.place_px(step), upwards.place_px(figure)) for step, figure in shown]
    dots = corners if len(corners) <= _MOST_DOTS else []
    return drawing(
        _CURVE_HEIGHT,
        words,
        scale_x(across, (_TOP, _CURVE_BOTTOM), names[0]),
        scale_y(upwards, (_LEFT, _RIGHT), names[1]),
        element(
            "polyline", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in corners), fill="none", class_="curve"
        ),
        *(element("circle", cx=x, cy=y, r=3.0, class_="point best") for x, y in dots),
    )


def thinned(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every nth of many, and always the last."""
    every = -(-len(places) // _MOST_CORNERS)
    return [place for i, place in enumerate(places) if i % every == 0 or i == len(places) - 1]


@dataclass(frozen=True)
class Panel:
    """A named figure, one for each piece of time, None where not measured; 0 on its scale or not."""

    name: str
    values: tuple[float | None, ...]
    from_zero: bool = False


@dataclass(frozen=True)
class Marked:
    """Rising spans of time with something in common."""

    name: str
    spans: tuple[tuple[float, float], ...] = ()


def panels(
    shown: Sequence[Panel], middles: Sequence[float], marked: Marked, words: Words, axis_name: str
) -> Markup:
    """The plot, at most three panels over the rising middles of pieces of time, with what is marked in all.

    A line ends where nothing was measured.
    """
    bottom = _TOP + len(shown) * (_HEIGHT + _GAP) - _GAP
    spans = _joined_spans(marked.spans)
    across = round_axis([0.0, *middles, *(end for _, end in spans)], (_LEFT, _RIGHT), ticks=6)
    tops = [_TOP + index * (_HEIGHT + _GAP) for index in range(len(shown))]
    return drawing(
        bottom + (62 if spans else 42),
        words,
        *(_span(across, span, bottom) for span in spans),
        *(
            _panel(panel, [across.place_px(at) for at in middles], top, class_)
            for panel, top, class_ in zip(shown, tops, _CURVES, strict=False)
        ),
        scale_x(across, (bottom, bottom), axis_name),
        *([_legend(marked.name, bottom + 54)] if spans else []),
    )


def _joined_spans(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours become one: between two there would be a seam."""
    joined_spans: list[tuple[float, float]] = []
    for start, end in spans:
        if joined_spans and start - joined_spans[-1][1] < (end - start) * 1e-3:
            joined_spans[-1] = joined_spans[-1][0], end
        else:
            joined_spans.append((start, end))
    return joined_spans


def _legend(name: str, y: float) -> Markup:
    swatch = element("rect", x=_LEFT, y=y - 10, width=16.0, height=12.0, class_="slowed")
    return joined(swatch, label((_LEFT + 22, y), name, "axis"))


def _span(across: Axis, span: tuple[float, float], bottom: float) -> Markup:
    start, end = (across.place_px(at) for at in span)
    return element("rect", x=start, y=_TOP, width=end - start, height=bottom - _TOP, class_="slowed")


def _panel(panel: Panel, places_px: Sequence[float], top: float, class_: str) -> Markup:
    known = [value for value in panel.values if drawable(value) is not None]
    if not known:
        middle = ((_LEFT + _RIGHT) / 2, top + _HEIGHT / 2)
        return joined(
            label((4, top - 12), panel.name, "axis"), label(middle, "not measured", "absent", "middle")
        )
    floor = [0.0] if panel.from_zero else []
    upwards = round_axis([*floor, *(v for v in known if v is not None)], (top + _HEIGHT, top), ticks=3)
    return joined(
        scale_y(upwards, (_LEFT, _RIGHT), panel.name),
        *(
            element("polyline", points=corners, fill="none", class_=class_)
            for corners in _pieces(panel.values, places_px, upwards)
        ),
    )


def _pieces(values: Sequence[float | None], places_px: Sequence[float], upwards: Axis) -> list[str]:
    pieces: list[list[str]] = [[]]
    for value, x in zip(values, places_px, strict=True):
        figure = drawable(value)
        if figure is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x:.2f},{upwards.place_px(figure):.2f}")
    # A single measurement is a dot of a line's width.
    return [" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece]


def thermal_plot(report: BenchmarkReport) -> Markup | None:
    """The plot; None where the record has no course of time."""
    points = report.timeline
    if len(points) < FEWEST_POINTS:
        return None
    unit, seconds = ("min", 60.0) if report.duration_s >= _MINUTES_FROM_S else ("s", 1.0)
    shown = [
        Panel("median time a frame, ms", tuple(point.p50_ms for point in points), from_zero=True),
        Panel("hottest sensor, °C", tuple(point.temperature_celsius for point in points)),
    ]
    frequencies = tuple(point.cpu_mhz for point in points)
    if any(mhz is not None for mhz in frequencies):
        shown.append(Panel("frequency of the cores, MHz", frequencies, from_zero=True))
    slowed = Marked(
        "something slowed the machine",
        tuple(
            (point.start_s / seconds, (point.start_s + point.duration_s) / seconds)
            for point in points
            if point.throttled
        ),
    )
    middles = [(point.start_s + point.duration_s / 2) / seconds for point in points]
    title = "Speed and heat over the time of a benchmark"
    return panels(shown, middles, slowed, Words(title, thermal_words(report)), f"time, {unit}")


def thermal_words(report: BenchmarkReport) -> str:
    """What can be seen in the plot."""
    kept = report.retention_10_min if report.retention_10_min is not None else report.retention
    speed = "Speed kept: not measured." if kept is None else f"Speed kept at the end: {kept:.2f} of 1."
    marked = {
        True: "Where something slowed the machine, the ground is marked.",
        False: "Nothing slowed the machine.",
        None: "Whether something slowed the machine was not measured.",
    }[report.throttled]
    return f"{speed} {marked}"


def standalone_thermal_plot(report: BenchmarkReport) -> str:
    """An SVG file.

    Raises:
        ConfigError: The record has no course of time.
    """
    plot = thermal_plot(report)
    if plot is None:
        raise ConfigError(
            f"A benchmark of {report.duration_s:.1f} s has no course of time to draw.",
            f"Measure for {FEWEST_POINTS} s or longer; 600 s show how much speed is kept.",
        )
    return standalone(plot, STYLE) + "\n"
