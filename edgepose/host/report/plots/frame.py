"""What every plot has: its outline, its title for those who do not see it, scales with figures."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.host.report.axis import Axis
from edgepose.host.report.markup import Markup, element, joined

# Units of the drawing; the page scales it to the width of the screen.
WIDTH = 440.0
FONT = 12.0
# Mean width of a letter over its height in common sans-serif fonts, rounded up.
_LETTER = 0.62


@dataclass(frozen=True)
class Words:
    """What a plot says in words.

    Attributes:
        title: What it shows.
        description: What can be seen, for those who do not see it.
    """

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
    """A plot as a file of its own.

    Args:
        plot: What ``drawing`` returned.
        style: The rules that the page has elsewhere, never from outside.
    """
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
    """A scale below the plot, with lines over its height.

    Args:
        axis: The scale.
        span_px: Top and bottom of the plot.
        name: What it measures, and its unit.
    """
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
