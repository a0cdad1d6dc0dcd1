"""The page: its parts in order, its look, and what it may load, which is nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from edgepose import __version__
from edgepose.host.report.inputs import DrawnFrame, ReportInputs, ReportRecord
from edgepose.host.report.markup import STYLE, Markup, element, joined, paragraph, table
from edgepose.host.report.page_accuracy import accuracy_latency_section, rounding_section
from edgepose.host.report.page_runs import deployment_section, latency_section, training_section


def frames_section(inputs: ReportInputs) -> Markup | None:
    """The part; None where no frames were asked for."""
    drawn = inputs.drawn
    if drawn is None:
        return None
    said = (
        f"{drawn.video}: somebody was found in {drawn.frames_with_poses} of {drawn.frames} frames "
        f"({drawn.poses}). "
    )
    if not drawn.shown:
        return paragraph(f"{said}There is no frame to show.")
    said += (
        "These are spread evenly among them, not chosen by quality. Left of the body is orange, right is "
        "blue; keypoints with a score under 0.2 are not drawn. This page shows the persons of the video: "
        "pass it on only where that is allowed."
    )
    shown = element("div", *map(_drawn_frame, drawn.shown), class_="pictures")
    return joined(paragraph(said), shown)


def _drawn_frame(frame: DrawnFrame) -> Markup:
    persons = f"{frame.persons} person{'' if frame.persons == 1 else 's'}"
    image = element(
        "img",
        src=f"data:image/jpeg;base64,{base64.b64encode(frame.jpeg).decode()}",
        alt=f"Frame {frame.frame} with the skeletons of {persons}",
        width=str(frame.size_wh[0]),
        height=str(frame.size_wh[1]),
    )
    return element("figure", image, element("figcaption", f"Frame {frame.frame}, {persons}"))


_NONE = "not stated"


def sources_section(inputs: ReportInputs) -> Markup:
    """The part; it is never left out."""
    rows = list(_rows(inputs))
    headers = ("record", "kind", "sha256 of the record", "sha256 of the model", "versions")
    named = [f"{digest}: {name}" for digest, name in inputs.data_names.items()]
    return joined(
        table("Records", headers, rows) if rows else paragraph("No records."),
        paragraph("Names of data, given by hand: " + "; ".join(named)) if named else Markup(""),
        element("p", f"Written by edgepose {__version__} from these records alone."),
    )


def _rows(inputs: ReportInputs) -> Iterator[tuple[str, ...]]:
    for one in inputs.evaluations:
        yield _row(one, "evaluation", one.report.model.sha256, _NONE)
    for bench in inputs.benchmarks:
        backend = bench.report.backend
        yield _row(bench, "benchmark", bench.report.model.sha256, f"{backend.runtime} {backend.version}")
    for deployed in inputs.deployments:
        installed, bundle = deployed.report.installation, deployed.report.bundle
        version = _NONE if installed is None else f"bundle version {installed.bundle_version}"
        yield _row(deployed, "deployment", None if bundle is None else bundle.model_sha256, version)
    for made in inputs.quantizations:
        yield _row(made, "quantization", made.report.model.sha256, _NONE)
    for trained in inputs.distillations:
        versions = ", ".join(f"{name} {version}" for name, version in trained.report.versions.items())
        yield _row(trained, "distillation", trained.report.model.sha256, versions or _NONE)
    for status in inputs.statuses:
        backend_report = status.report.backend
        said = _NONE if backend_report is None else f"{backend_report.runtime} {backend_report.version}"
        yield _row(status, "status", status.report.model_sha256, said)


def _row(record: ReportRecord[Any], kind: str, model: str | None, versions: str) -> tuple[str, ...]:
    return record.file_name, kind, record.sha256, model or _NONE, versions


# No script, no font, no image but those inside the page; nothing is ever fetched.
CONTENT_SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_SECTIONS: tuple[tuple[str, str, Callable[[ReportInputs], Markup | None]], ...] = (
    ("sight", "What it sees", frames_section),
    ("accuracy-latency", "Accuracy against latency", accuracy_latency_section),
    ("rounding", "int8 against float", rounding_section),
    ("latency", "Where the time goes", latency_section),
    ("deployment", "Deployment", deployment_section),
    ("training", "Training", training_section),
)


def render_page(inputs: ReportInputs) -> str:
    """The page, the same text for the same inputs."""
    parts = []
    for name, heading, write in _SECTIONS:
        body = write(inputs)
        if body is not None:
            parts.append(element("section", element("h2", heading), body, id=name))
    footer = element("footer", element("h2", "Records"), sources_section(inputs))
    main = element("main", element("h1", inputs.title), *parts, footer)
    return f"<!DOCTYPE html>\n{element('html', _head(inputs.title), element('body', main), lang='en')}\n"


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
