"""A bar a row, with a whisker, and a mark where the other model stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.report.axis import Axis, round_axis
from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plots.frame import WIDTH, Words, drawing, label, line, scale_x, shortened

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
