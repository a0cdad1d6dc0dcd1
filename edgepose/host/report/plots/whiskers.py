"""A dot with a whisker a row, against a line at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.report.axis import Axis, round_axis
from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plots.frame import WIDTH, Words, drawing, label, line, scale_x, shortened

_LEFT, _RIGHT, _TOP, _ROW = 165.0, WIDTH - 22, 10.0, 24.0


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
    axis = round_axis([0.0, *figures], (_LEFT, _RIGHT), ticks=4)
    bottom = _TOP + _ROW * len(rows)
    zero = axis.place_px(0.0)
    return drawing(
        bottom + 42,
        words,
        scale_x(axis, (_TOP, bottom), axis_name),
        line((zero, _TOP), (zero, bottom), "zero"),
        *(_row(row, axis, _TOP + _ROW * (index + 0.5)) for index, row in enumerate(rows)),
    )


def _row(row: WhiskerRow, axis: Axis, y: float) -> Markup:
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
