"""The page: its parts in order, its look, and what it may load, which is nothing."""

from __future__ import annotations

from collections.abc import Callable

from edgepose.host.report.markup import STYLE, Markup, element, joined
from edgepose.host.report.material import ReportMaterial
from edgepose.host.report.sections import (
    accuracy_latency,
    deployment,
    latency,
    rounding,
    sight,
    sources,
    training,
)

# No script, no font, no picture but those inside the page; nothing is ever fetched.
CONTENT_SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_SECTIONS: tuple[tuple[str, str, Callable[[ReportMaterial], Markup | None]], ...] = (
    ("sight", "What it sees", sight.section),
    ("accuracy-latency", "Accuracy against latency", accuracy_latency.section),
    ("rounding", "int8 against float", rounding.section),
    ("latency", "Where the time goes", latency.section),
    ("deployment", "Deployment", deployment.section),
    ("training", "Training", training.section),
)


def render_page(material: ReportMaterial) -> str:
    """The page, the same text for the same material."""
    parts = []
    for name, heading, write in _SECTIONS:
        body = write(material)
        if body is not None:
            parts.append(element("section", element("h2", heading), body, id=name))
    footer = element("footer", element("h2", "Records"), sources.section(material))
    main = element("main", element("h1", material.title), *parts, footer)
    return f"<!DOCTYPE html>\n{element('html', _head(material.title), element('body', main), lang='en')}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        joined(Markup("<style>"), Markup(STYLE), Markup("</style>")),
    )
