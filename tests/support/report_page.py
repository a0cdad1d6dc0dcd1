"""Reads a report back with parsers that had no part in writing it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

VOID = {"meta", "img", "br", "link", "input"}
# What makes a browser fetch or run something.
LOADING = {
    "script",
    "link",
    "iframe",
    "object",
    "embed",
    "base",
    "form",
    "a",
    "video",
    "audio",
    "source",
    "use",
}


@dataclass
class Page(HTMLParser):
    """All elements, and the text of each kind."""

    text: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if "body" in self.open:
            self.texts["body"][-1] += " "

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def headings(self) -> list[str]:
        return self.texts.get("h2", [])

    @property
    def words(self) -> str:
        """All that a reader sees, without the style."""
        return " ".join(self.texts["body"][-1].split())

    def plots(self, title: str) -> list[ET.Element]:
        found = map(ET.fromstring, re.findall(r"<svg .*?</svg>", self.text, re.DOTALL))
        return [plot for plot in found if plot.findtext("title") == title]


def by_class(plot: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in plot.iter() if name in (one.get("class") or "").split()]


def figure_at(plot: ET.Element, place_px: float, along: str) -> float:
    """What a place means, by the plot's own ticks: ``along`` is x or y."""
    marks = by_class(plot, f"tick-{along}")
    # The figures beside an upright scale stand 4 lower than their lines, so that they look centred.
    offset = 4.0 if along == "y" else 0.0
    places = [(float(mark.get(along) or "nan") - offset, float(mark.text or "nan")) for mark in marks]
    (first, low), (last, high) = places[0], places[-1]
    return low + (place_px - first) / (last - first) * (high - low)
