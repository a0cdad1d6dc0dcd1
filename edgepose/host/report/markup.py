"""HTML and SVG in which no text from outside can become markup.

Plain ``str`` is escaped wherever it goes in; only what these functions return is taken as it is.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

# Control and format characters (bidirectional overrides among them), line separators, lone surrogates.
_NOT_TEXT = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
_NO_CHARACTERS = "\ufffe\uffff"
_VOID = frozenset({"meta", "img"})

Value = str | float | None


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Escapes plain text; markup stays as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape("".join(map(_plain, value)), quote=True))


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


def _plain(letter: str) -> str:
    return " " if unicodedata.category(letter) in _NOT_TEXT or letter in _NO_CHARACTERS else letter
