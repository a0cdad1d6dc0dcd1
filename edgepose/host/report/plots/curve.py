"""A figure over the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.host.report.axis import round_axis
from edgepose.host.report.markup import Markup, element
from edgepose.host.report.plots.frame import WIDTH, Words, drawing, scale_x, scale_y

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 220.0, 52.0, WIDTH - 24, 34.0, 172.0
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
    across = round_axis([0.0, *(step for step, _ in shown)], (_LEFT, _RIGHT), ticks=4)
    upwards = round_axis([figure for _, figure in shown], (_BOTTOM, _TOP), ticks=4)
    corners = [(across.place_px(step), upwards.place_px(figure)) for step, figure in shown]
    dots = corners if len(corners) <= _MOST_DOTS else []
    return drawing(
        _HEIGHT,
        words,
        scale_x(across, (_TOP, _BOTTOM), names[0]),
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
