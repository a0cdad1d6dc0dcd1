"""Plots of a row a figure: bars, parts of a whole, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plot_frame import (
    WIDTH,
    Axis,
    Words,
    drawing,
    label,
    line,
    round_axis,
    scale_x,
    shortened,
    text_width_px,
)

# Of plots whose names stand at the left.
_LEFT, _RIGHT, _TOP = 165.0, WIDTH - 22, 10.0
_BAR_ROW, _WHISKER_ROW = 20.0, 24.0
_STACK_LEFT, _STACK_RIGHT, _STACK_TOP, _STACK_ROW = 12.0, WIDTH - 20, 34.0, 44.0


@dataclass(frozen=True)
class Bar:
    """A row: the bar's length and the other model's mark, None where not measured; ends of the whisker."""

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
    bottom = _TOP + _BAR_ROW * len(rows)
    return drawing(
        bottom + 42,
        words,
        scale_x(axis, (_TOP, bottom), axis_name),
        *(_bar(row, axis, _TOP + _BAR_ROW * (index + 0.5)) for index, row in enumerate(rows)),
    )


def _bar(row: Bar, axis: Axis, y: float) -> Markup:
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


@dataclass(frozen=True)
class Stack:
    """A row of parts by name, the same order in all rows; None where one was not measured."""

    name: str
    parts: Mapping[str, float | None]


def stacked_bars(stacks: Sequence[Stack], words: Words, axis_name: str) -> Markup:
    """The plot, at most three parts a row; parts of 0 or less and those not measured have no length."""
    axis = round_axis(
        [0.0, *(sum(_lengths(stack).values()) for stack in stacks)], (_STACK_LEFT, _STACK_RIGHT)
    )
    bottom = _STACK_TOP + _STACK_ROW * len(stacks)
    return drawing(
        bottom + 42,
        words,
        _legend(list(stacks[0].parts)),
        scale_x(axis, (_STACK_TOP, bottom), axis_name),
        *(_stack(stack, axis, _STACK_TOP + _STACK_ROW * index) for index, stack in enumerate(stacks)),
    )


def _lengths(stack: Stack) -> dict[str, float]:
    return {name: max(value or 0.0, 0.0) for name, value in stack.parts.items()}


def _legend(names: list[str]) -> Markup:
    drawn, x = [], _STACK_LEFT
    for index, name in enumerate(names):
        drawn.append(element("rect", x=x, y=6.0, width=12.0, height=12.0, class_=f"part-{index}"))
        drawn.append(label((x + 17, 16), name, "name"))
        x += 34 + text_width_px(name)
    return joined(*drawn)


def _stack(stack: Stack, axis: Axis, top: float) -> Markup:
    drawn, reached = [label((_STACK_LEFT, top + 14), stack.name, "name")], 0.0
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


@dataclass(frozen=True)
class WhiskerRow:
    """A row: dot and ends of the whisker, None where not measured; ``sure`` is False for a hollow dot."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    sure: bool = True


def whiskers(rows: Sequence[WhiskerRow], words: Words, axis_name: str) -> Markup:
    """The plot; 0 is always on it."""
    figures = [end for row in rows for end in (row.value, *(row.interval or ())) if end is not None]
    axis = round_axis([0.0, *figures], (_LEFT, _RIGHT), ticks=4)
    bottom = _TOP + _WHISKER_ROW * len(rows)
    zero = axis.place_px(0.0)
    return drawing(
        bottom + 42,
        words,
        scale_x(axis, (_TOP, bottom), axis_name),
        line((zero, _TOP), (zero, bottom), "zero"),
        *(_whisker(row, axis, _TOP + _WHISKER_ROW * (index + 0.5)) for index, row in enumerate(rows)),
    )


def _whisker(row: WhiskerRow, axis: Axis, y: float) -> Markup:
    name = label((_LEFT - 8, y + 4), shortened(row.name, _LEFT - 12), "name", "end")
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
