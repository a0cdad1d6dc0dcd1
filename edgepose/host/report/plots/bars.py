"""A bar a row, with a whisker, and a mark where the other model stands.

Parts of a whole, one after the other, a row a measurement.

A dot with a whisker a row, against a line at 0.

A figure over the steps of a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plots.frame import (
    WIDTH,
    Axis,
    Words,
    drawing,
    label,
    line,
    round_axis,
    scale_x,
    scale_y,
    shortened,
    text_width_px,
)

_LEFT, _RIGHT, _TOP, _ROW = 165.0, WIDTH - 22, 10.0, 20.0


@dataclass(frozen=True)
class Bar:
    """A row.

    Attributes:
        name: Stands at the left.
        value: Length of the bar; None where it was not measured.
        interval: Ends of the whisker; None without one.
        other: The other model's figure; None where there is none.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    other: float | None


def bars(rows: Sequence[Bar], words: Words, axis_name: str) -> Markup:
    """The plot; bars begin at 0, and a fraction's scale ends at 1."""
    figures = [
        end for row in rows for end in (row.value, row.other, *(row.interval or ())) if end is not None
    ]
    axis = round_axis([0.0, 1.0, *figures], (_LEFT, _RIGHT))
    bottom = _TOP + _ROW * len(rows)
    return drawing(
        bottom + 42,
        words,
        scale_x(axis, (_TOP, bottom), axis_name),
        *(_row(row, axis, _TOP + _ROW * (index + 0.5)) for index, row in enumerate(rows)),
    )


def _row(row: Bar, axis: Axis, y: float) -> Markup:
    parts = [label((_LEFT - 8, y + 4), shortened(row.name, _LEFT - 12), "name", "end")]
    zero = axis.place_px(0.0)
    if row.value is None:
        parts.append(label((zero + 6, y + 4), "not measured", "absent"))
    else:
        end = axis.place_px(row.value)
        title = element("title", f"{row.name}: {row.value:.3f}")
        parts.append(
            element(
                "rect", title, x=min(zero, end), y=y - 6, width=abs(end - zero), height=12.0, class_="bar"
            )
        )
    if row.interval is not None:
        low, high = (axis.place_px(end) for end in row.interval)
        parts.append(line((low, y), (high, y), "whisker"))
    if row.other is not None:
        at = axis.place_px(row.other)
        parts.append(line((at, y - 8), (at, y + 8), "other"))
    return joined(*parts)


_STACKED_BARS_LEFT, _STACKED_BARS_RIGHT, _STACKED_BARS_TOP, _STACKED_BARS_ROW = 12.0, WIDTH - 20, 34.0, 44.0


@dataclass(frozen=True)
class Stack:
    """A row.

    Attributes:
        name: Stands above it.
        parts: By name, all rows in the same order; None where one was not measured.
    """

    name: str
    parts: Mapping[str, float | None]


def stacked_bars(stacks: Sequence[Stack], words: Words, axis_name: str) -> Markup:
    """The plot; parts of 0 or less and those that were not measured have no length.

    Args:
        stacks: At least one, with at most three parts.
        words: Its title and description.
        axis_name: What it measures, and its unit.
    """
    axis = round_axis(
        [0.0, *(sum(_lengths(stack).values()) for stack in stacks)], (_STACKED_BARS_LEFT, _STACKED_BARS_RIGHT)
    )
    bottom = _STACKED_BARS_TOP + _STACKED_BARS_ROW * len(stacks)
    return drawing(
        bottom + 42,
        words,
        _legend(list(stacks[0].parts)),
        scale_x(axis, (_STACKED_BARS_TOP, bottom), axis_name),
        *(
            _stacked_bars_row(stack, axis, _STACKED_BARS_TOP + _STACKED_BARS_ROW * index)
            for index, stack in enumerate(stacks)
        ),
    )


def _lengths(stack: Stack) -> dict[str, float]:
    return {name: max(value or 0.0, 0.0) for name, value in stack.parts.items()}


def _legend(names: list[str]) -> Markup:
    drawn, x = [], _STACKED_BARS_LEFT
    for index, name in enumerate(names):
        drawn.append(element("rect", x=x, y=6.0, width=12.0, height=12.0, class_=f"part-{index}"))
        drawn.append(label((x + 17, 16), name, "name"))
        x += 34 + text_width_px(name)
    return joined(*drawn)


def _stacked_bars_row(stack: Stack, axis: Axis, top: float) -> Markup:
    drawn, reached = [label((_STACKED_BARS_LEFT, top + 14), stack.name, "name")], 0.0
    for index, (name, length) in enumerate(_lengths(stack).items()):
        start, end = axis.place_px(reached), axis.place_px(reached + length)
        title = element("title", f"{name}: {length:.3f}")
        drawn.append(
            element(
                "rect", title, x=start, y=top + 20, width=end - start, height=16.0, class_=f"part-{index}"
            )
        )
        reached += length
    return joined(*drawn)


_WHISKERS_LEFT, _WHISKERS_RIGHT, _WHISKERS_TOP, _WHISKERS_ROW = 165.0, WIDTH - 22, 10.0, 24.0


@dataclass(frozen=True)
class WhiskerRow:
    """A row.

    Attributes:
        name: Stands at the left.
        value: The dot; None where it was not measured.
        interval: Ends of the whisker; None without one.
        sure: False for a hollow dot.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    sure: bool = True


def whiskers(rows: Sequence[WhiskerRow], words: Words, axis_name: str) -> Markup:
    """The plot; 0 is always on it."""
    figures = [end for row in rows for end in (row.value, *(row.interval or ())) if end is not None]
    axis = round_axis([0.0, *figures], (_WHISKERS_LEFT, _WHISKERS_RIGHT), ticks=4)
    bottom = _WHISKERS_TOP + _WHISKERS_ROW * len(rows)
    zero = axis.place_px(0.0)
    return drawing(
        bottom + 42,
        words,
        scale_x(axis, (_WHISKERS_TOP, bottom), axis_name),
        line((zero, _WHISKERS_TOP), (zero, bottom), "zero"),
        *(
            _whiskers_row(row, axis, _WHISKERS_TOP + _WHISKERS_ROW * (index + 0.5))
            for index, row in enumerate(rows)
        ),
    )


def _whiskers_row(row: WhiskerRow, axis: Axis, y: float) -> Markup:
    name = label((_WHISKERS_LEFT - 8, y + 4), shortened(row.name, _WHISKERS_LEFT - 12), "name", "end")
    if row.value is None:
        return joined(name, label((axis.place_px(0.0) + 6, y + 4), "not measured", "absent"))
    parts = [name]
    if row.interval is not None:
        low, high = (axis.place_px(end) for end in row.interval)
        parts += [line((low, y), (high, y), "whisker")]
        parts += [line((end, y - 4), (end, y + 4), "whisker") for end in (low, high)]
    kind = "point best" if row.sure else "point beaten"
    dot = element("circle", element("title", row.name), cx=axis.place_px(row.value), cy=y, r=4.5, class_=kind)
    return joined(*parts, dot)


_HEIGHT, _CURVE_LEFT, _CURVE_RIGHT, _CURVE_TOP, _BOTTOM = 220.0, 52.0, WIDTH - 24, 34.0, 172.0
# More corners than the drawing has units across cannot be seen.
_MOST_CORNERS = 400
_MOST_DOTS = 40


def curve(places: Sequence[tuple[float, float]], words: Words, names: tuple[str, str]) -> Markup:
    """The plot; few measurements are also dots, so that nobody takes the line between them for one.

    Args:
        places: Step and figure, in order, at least one, all finite.
        words: Its title and description.
        names: Of the scale across and of the one upwards.
    """
    shown = thinned(places)
    across = round_axis([0.0, *(step for step, _ in shown)], (_CURVE_LEFT, _CURVE_RIGHT), ticks=4)
    upwards = round_axis([figure for _, figure in shown], (_BOTTOM, _CURVE_TOP), ticks=4)
    corners = [(across.place_px(step), upwards.place_px(figure)) for step, figure in shown]
    dots = corners if len(corners) <= _MOST_DOTS else []
    return drawing(
        _HEIGHT,
        words,
        scale_x(across, (_CURVE_TOP, _BOTTOM), names[0]),
        scale_y(upwards, (_CURVE_LEFT, _CURVE_RIGHT), names[1]),
        element(
            "polyline", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in corners), fill="none", class_="curve"
        ),
        *(element("circle", cx=x, cy=y, r=3.0, class_="point best") for x, y in dots),
    )


def thinned(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every nth of many, and always the last."""
    every = -(-len(places) // _MOST_CORNERS)
    return [place for i, place in enumerate(places) if i % every == 0 or i == len(places) - 1]
