"""What every plot has: its outline, a title in words, scales with round figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgepose.host.report.markup import Markup, element, joined

# Beyond, a figure is damaged, and its place could not be computed.
_LARGEST = 1e9
# Figures that are closer than this, by the greatest of them, are one figure.
_EQUAL = 1e-9
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A straight scale.

    Attributes:
        low: Figure at ``start_px``.
        high: Figure at ``end_px``; greater than ``low``.
        start_px: Where the scale begins.
        end_px: Where it ends; smaller than ``start_px`` for a scale that grows upwards.
        ticks: Round figures from ``low`` to ``high``.
    """

    low: float
    high: float
    start_px: float
    end_px: float
    ticks: tuple[float, ...]

    def place_px(self, value: float) -> float:
        """The place of a figure."""
        share = (value - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)

    def label(self, tick: float) -> str:
        """A tick's figure with as many decimals as its neighbours need."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        decimals = next(n for n in range(13) if abs(round(step, n) - step) < step * 1e-6 or n == 12)
        return f"{tick:.{decimals}f}"


def round_axis(values: Iterable[float], span_px: tuple[float, float], ticks: int = 5) -> Axis:
    """A scale of about so many steps, from round figure to round figure, that holds what can be drawn."""
    usable = [value for value in values if drawable(value) is not None] or [0.0, 1.0]
    low, high = min(usable), max(usable)
    if high - low <= max(abs(low), abs(high), 1.0) * _EQUAL:
        low, high = low - max(abs(low) * 0.1, 0.05), high + max(abs(high) * 0.1, 0.05)
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Adding 0 turns -0.0 into 0.0.
    marks = tuple(round(index * step, 12) + 0.0 for index in range(first, last + 1))
    return Axis(marks[0], marks[-1], *span_px, marks)


def drawable(value: float | None) -> float | None:
    """The figure, or None where it was not measured or is damaged."""
    return None if value is None or not math.isfinite(value) or abs(value) > _LARGEST else value


def drawable_interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Both ends in order, or None where either cannot be drawn."""
    if interval is None or any(drawable(end) is None for end in interval):
        return None
    return min(interval), max(interval)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))


# Units of the drawing; the page scales it to the width of the screen.
WIDTH = 440.0
FONT = 12.0
# Mean width of a letter over its height in common sans-serif fonts, rounded up.
_LETTER = 0.62


@dataclass(frozen=True)
class Words:
    """A title, and what can be seen, for those who do not see it."""

    title: str
    description: str


def drawing(height: float, words: Words, *children: str) -> Markup:
    """A plot."""
    return element(
        "svg",
        element("title", words.title),
        element("desc", words.description),
        *children,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=f"{words.title}. {words.description}",
    )


def standalone(plot: Markup, style: str) -> Markup:
    """A plot as a file of its own, with the rules that the page has elsewhere, never from outside."""
    # Elsewhere it may stand on any colour, as the page's own ground is not there.
    rules = Markup(f"{style}svg {{ background: var(--ground); }}\n")
    sheet = joined(Markup("<style>"), rules, Markup("</style>"))
    start, _, rest = plot.partition(">")
    start = start.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return joined(Markup(f"{start}>"), sheet, Markup(rest))


def line(start: tuple[float, float], end: tuple[float, float], class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def label(at: tuple[float, float], words: str, class_: str = "label", anchor: str | None = None) -> Markup:
    """A text; ``anchor`` is SVG's text-anchor."""
    return element("text", words, x=at[0], y=at[1], class_=class_, text_anchor=anchor)


def scale_x(axis: Axis, span_px: tuple[float, float], name: str) -> Markup:
    """A named scale below the plot, with lines from its top to its bottom."""
    top, bottom = span_px
    marks = [
        joined(
            line((axis.place_px(tick), top), (axis.place_px(tick), bottom), "grid"),
            label((axis.place_px(tick), bottom + 16), axis.label(tick), "tick-x", "middle"),
        )
        for tick in axis.ticks
    ]
    middle = (axis.start_px + axis.end_px) / 2
    return joined(*marks, label((middle, bottom + 34), name, "axis", "middle"))


def scale_y(axis: Axis, span_px: tuple[float, float], name: str) -> Markup:
    """A scale at the left, with lines over the width; its name stands above it."""
    left, right = span_px
    marks = [
        joined(
            line((left, axis.place_px(tick)), (right, axis.place_px(tick)), "grid"),
            label((left - 6, axis.place_px(tick) + 4), axis.label(tick), "tick-y", "end"),
        )
        for tick in axis.ticks
    ]
    return joined(*marks, label((4, axis.end_px - 12), name, "axis"))


def text_width_px(words: str) -> float:
    """About how wide a label is."""
    return len(words) * FONT * _LETTER


def shortened(words: str, room_px: float) -> str:
    """A label that fits, both its ends kept; the table beside the plot has the whole one."""
    letters = max(int(room_px / (FONT * _LETTER)), 3)
    if len(words) <= letters:
        return words
    end = (letters - 1) // 2
    return f"{words[: letters - 1 - end]}…{words[-end:]}"
