"""Points with whiskers upwards and downwards, named where they stand, and a line over the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgepose.host.report.markup import Markup, element, joined
from edgepose.host.report.plot_frame import (
    FONT,
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

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 48.0, WIDTH - 20, 34.0, 272.0
_RADIUS = 5.0
_LABEL_ROOM_PX = 180.0
_FAR_PX = 20.0
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ScatterPoint:
    """A named point with the ends of its whisker; the line runs through the best ones."""

    name: str
    x: float
    y: float
    interval: tuple[float, float] | None
    best: bool


Placed = tuple[ScatterPoint, float, float]


def scatter(points: Sequence[ScatterPoint], words: Words, names: tuple[str, str]) -> Markup:
    """The plot of points with finite figures; the scale across begins at 0, ``names`` are those of both."""
    ends = [end for point in points for end in (point.y, *(point.interval or ()))]
    across = round_axis([0.0, *(point.x for point in points)], (_LEFT, _RIGHT))
    upwards = round_axis(ends, (_BOTTOM, _TOP))
    placed = [(point, across.place_px(point.x), upwards.place_px(point.y)) for point in points]
    steps = _corners([(x, y) for point, x, y in placed if point.best])
    return drawing(
        _HEIGHT,
        words,
        scale_x(across, (_TOP, _BOTTOM), names[0]),
        scale_y(upwards, (_LEFT, _RIGHT), names[1]),
        _best_line(steps),
        *(_whisker(point, x, upwards) for point, x, _ in placed),
        *(_mark(point, x, y) for point, x, y in placed),
        *_names(placed, _lines(placed, steps, upwards)),
    )


def _corners(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Steps: between two models there is none, so the faster one's accuracy holds until the next."""
    ordered = sorted(places)
    corners = ordered[:1]
    for before, after in pairwise(ordered):
        corners += [(after[0], before[1]), after]
    return corners


def _best_line(corners: list[tuple[float, float]]) -> Markup:
    if len(corners) < 2:
        return Markup("")
    places = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
    return element("polyline", points=places, fill="none", class_="best-line")


def _whisker(point: ScatterPoint, x: float, upwards: Axis) -> Markup:
    if point.interval is None:
        return Markup("")
    low, high = (upwards.place_px(end) for end in point.interval)
    caps = (line((x - 4, end), (x + 4, end), "whisker") for end in (low, high))
    return joined(line((x, low), (x, high), "whisker"), *caps)


def _mark(point: ScatterPoint, x: float, y: float) -> Markup:
    kind = "point best" if point.best else "point beaten"
    return element("circle", element("title", point.name), cx=x, cy=y, r=_RADIUS, class_=kind)


def _lines(placed: list[Placed], steps: list[tuple[float, float]], upwards: Axis) -> list[Box]:
    """Where whiskers and steps are, which names rather leave free."""
    stems = [
        ((x, upwards.place_px(point.interval[0])), (x, upwards.place_px(point.interval[1])))
        for point, x, _ in placed
        if point.interval is not None
    ]
    return [
        (min(a[0], b[0]) - 2, min(a[1], b[1]) - 2, max(a[0], b[0]) + 2, max(a[1], b[1]) + 2)
        for a, b in (*stems, *pairwise(steps))
    ]


def _names(placed: list[Placed], lines: list[Box]) -> list[Markup]:
    """Each beside its point, where it covers nothing, else where it covers no point and no other name."""
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in placed]
    drawn = []
    for point, x, y in placed:
        words = shortened(point.name, _LABEL_ROOM_PX)
        boxes = _sides(x, y, text_width_px(words))
        box = next(filter(None, (_free(boxes, covered) for covered in (taken + lines, taken))), boxes[0])
        taken.append(box)
        drawn.append(joined(_leader((x, y), box), label((box[0], box[3] - 4), words, "name")))
    return drawn


def _leader(point: tuple[float, float], box: Box) -> Markup:
    """A thin line to a name that had to go farther away."""
    middle = (box[1] + box[3]) / 2
    if abs(middle - point[1]) < _FAR_PX:
        return Markup("")
    side = box[0] - 1 if box[0] > point[0] else box[2] + 1
    return line(point, (side, middle), "leader")


def _free(boxes: list[Box], covered: list[Box]) -> Box | None:
    """The first place inside the plot where a name covers nothing of this."""
    return next((box for box in boxes if _inside(box) and not any(_meet(box, one) for one in covered)), None)


def _sides(x: float, y: float, width: float) -> list[Box]:
    left, right, middle = x - 9 - width, x + 9, max(x - width / 2, _LEFT + 2)
    starts = [(right, y - 15), (left, y - 15), (left, y), (right, y + 15), (left, y + 15), (right, y)]
    starts += [(min(middle, _RIGHT - width), y + away) for away in (-18, 18)]
    starts += [(x, y + away) for away in (-32, 32, -49, 49, -66, 66, -83, 83) for x in (right, left)]
    return [(start, at - FONT / 2 - 2, start + width, at + FONT / 2 + 2) for start, at in starts]


def _inside(box: Box) -> bool:
    return box[0] >= _LEFT and box[2] <= WIDTH and box[1] >= _TOP - 14 and box[3] <= _BOTTOM


def _meet(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
