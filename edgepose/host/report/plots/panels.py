"""Several figures over the same time, one panel below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.report.axis import Axis, drawable, round_axis
from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plots.frame import WIDTH, Words, drawing, label, scale_x, scale_y

_LEFT, _RIGHT, _TOP, _HEIGHT, _GAP = 52.0, WIDTH - 24, 34.0, 84.0, 40.0
_CURVES = ("curve", "second-curve", "third-curve")


@dataclass(frozen=True)
class Panel:
    """A figure over time.

    Attributes:
        name: What it is, and its unit.
        values: One for each piece of time; None where it was not measured.
        from_zero: Whether 0 is on its scale, so that heights may be compared.
    """

    name: str
    values: tuple[float | None, ...]
    from_zero: bool = False


@dataclass(frozen=True)
class Marked:
    """Spans of time with something in common.

    Attributes:
        name: What it is.
        spans: Begin and end of each, rising.
    """

    name: str
    spans: tuple[tuple[float, float], ...] = ()


def panels(
    shown: Sequence[Panel], middles: Sequence[float], marked: Marked, words: Words, axis_name: str
) -> Markup:
    """The plot; a line ends where nothing was measured.

    Args:
        shown: At least one, at most three.
        middles: Middle of each piece of time, rising.
        marked: What is marked in all panels.
        words: Its title and description.
        axis_name: The time and its unit.
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
