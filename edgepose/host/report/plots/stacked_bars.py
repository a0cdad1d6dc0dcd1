"""Parts of a whole, one after the other, a row a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepose.host.report.axis import Axis, round_axis
from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plots.frame import WIDTH, Words, drawing, label, scale_x, text_width_px

_LEFT, _RIGHT, _TOP, _ROW = 12.0, WIDTH - 20, 34.0, 44.0


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
    axis = round_axis([0.0, *(sum(_lengths(stack).values()) for stack in stacks)], (_LEFT, _RIGHT))
    bottom = _TOP + _ROW * len(stacks)
    return drawing(
        bottom + 42,
        words,
        _legend(list(stacks[0].parts)),
        scale_x(axis, (_TOP, bottom), axis_name),
        *(_row(stack, axis, _TOP + _ROW * index) for index, stack in enumerate(stacks)),
    )


def _lengths(stack: Stack) -> dict[str, float]:
    return {name: max(value or 0.0, 0.0) for name, value in stack.parts.items()}


def _legend(names: list[str]) -> Markup:
    drawn, x = [], _LEFT
    for index, name in enumerate(names):
        drawn.append(element("rect", x=x, y=6.0, width=12.0, height=12.0, class_=f"part-{index}"))
        drawn.append(label((x + 17, 16), name, "name"))
        x += 34 + text_width_px(name)
    return joined(*drawn)


def _row(stack: Stack, axis: Axis, top: float) -> Markup:
    drawn, reached = [label((_LEFT, top + 14), stack.name, "name")], 0.0
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
