"""HTML and SVG in which no text from outside can become markup, and how the page looks.

Plain ``str`` is escaped wherever it goes in; only what these functions return is taken as it is. The colours
of marks are Okabe and Ito's ("Color Universal Design", 2008), which people with any common kind of colour
blindness tell apart; nothing is said by colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from edgepose.host.report.wording import plain_letter

_VOID = frozenset({"meta", "img"})

Value = str | float | None


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Escapes plain text; markup stays as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape("".join(map(plain_letter, value)), quote=True))


def joined(*children: str) -> Markup:
    """One after the other."""
    return Markup("".join(map(text, children)))


def element(tag: str, /, *children: str, **attributes: Value) -> Markup:
    """An element.

    Args:
        tag: Its name, never from outside.
        children: Markup, or plain text that is escaped.
        attributes: ``class_`` is ``class``, other underscores are hyphens; None leaves one out, numbers are
            rounded to hundredths.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(_shown(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(*children)}</{tag}>")


def paragraph(*children: str, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", *children, class_=class_)


def bullets(items: Iterable[str]) -> Markup:
    """A list."""
    return element("ul", *(element("li", item) for item in items))


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table that scrolls by itself where the screen is narrow; the first cell of a row names the row."""
    head = element("tr", *(element("th", name, scope="col") for name in headers))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):g}"


_LIGHT = {
    "ground": "#ffffff", "ink": "#1a1a1a", "quiet": "#595959", "faint": "#dddddd",
    "first": "#0072b2", "second": "#d55e00", "third": "#009e73",
}  # fmt: skip
_DARK = {
    "ground": "#16181a", "ink": "#f0f0f0", "quiet": "#b0b0b0", "faint": "#3a3d40",
    "first": "#56b4e9", "second": "#e69f00", "third": "#009e73",
}  # fmt: skip

_RULES = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--faint); padding-bottom: .3rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
figcaption, .note, footer { color: var(--quiet); font-size: .875rem; }
svg { display: block; width: 100%; max-width: 36rem; height: auto; }
img { display: block; width: 100%; height: auto; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
.pictures figure { margin: 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
th, td { border-bottom: 1px solid var(--faint); }
thead th { color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 400; }
.gate-passed, .gate-failed { border-left: 4px solid var(--third); padding-left: .75rem; }
.gate-failed { border-left-color: var(--second); }
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.tick-x, .tick-y, .axis, .absent { fill: var(--quiet); }
.name { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; }
.grid { stroke: var(--faint); stroke-width: 1; }
.leader { stroke: var(--quiet); stroke-width: 1; }
.zero { stroke: var(--quiet); stroke-width: 1.5; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.other { stroke: var(--second); stroke-width: 3; }
.point { stroke: var(--first); stroke-width: 2; }
.best { fill: var(--first); }
.beaten { fill: var(--ground); }
.best-line, .curve { fill: none; stroke: var(--first); stroke-width: 1.5; }
.best-line { stroke: var(--third); stroke-dasharray: 5 3; }
.bar, .part-0 { fill: var(--first); }
.part-1 { fill: var(--second); }
.part-2 { fill: var(--third); }
rect { stroke: var(--ground); stroke-width: 1; }
.slowed { fill: var(--second); fill-opacity: .25; stroke: none; }
.second-curve { fill: none; stroke: var(--second); stroke-width: 1.5; }
.third-curve { fill: none; stroke: var(--third); stroke-width: 1.5; }
@media print { .scroll { overflow: visible; } }
"""


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = (
    f"\n:root {{ color-scheme: light dark; {_variables(_LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(_DARK)} }} }}{_RULES}"
)
