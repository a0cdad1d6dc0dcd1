"""Accuracy against latency: one plot for each set of models that may be compared."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, number, with_interval
from edgepose.host.report.frontier import (
    FrontierGroup,
    FrontierPoint,
    frontier_groups,
    measured_models,
    without_accuracy,
    without_latency,
)
from edgepose.host.report.markup import Markup, element, joined, paragraph, table
from edgepose.host.report.material import ReportMaterial, short
from edgepose.host.report.plots.frame import Words
from edgepose.host.report.plots.scatter import ScatterPoint, scatter
from edgepose.host.report.sections.notes import about_people

_HEADERS = (
    "model", "sha256", "weights", "AP [95 % interval]", "p50 ms", "p95 ms", "runtime", "beaten",
)  # fmt: skip


def section(material: ReportMaterial) -> Markup | None:
    """The part; None without evaluations and benchmarks."""
    models = measured_models(material)
    if not models and not material.benchmarks:
        return None
    groups = frontier_groups(material)
    parts = [_group(group, material) for group in groups]
    if not groups:
        parts.append(paragraph(f"No model has both figures, so accuracy against latency is {NOT_MEASURED}."))
    return joined(*parts, _accuracy_alone(material), *_gaps(material), about_people(material))


def _group(group: FrontierGroup, material: ReportMaterial) -> Markup:
    where = f"{material.data_in_words(group.data)}. Latency on {group.machine.in_words()}."
    drawn = [point for point in group.points if point.ap is not None and point.latency_ms is not None]
    shown = [_plot(drawn, material, where)] if drawn else [paragraph(f"AP or latency: {NOT_MEASURED}.")]
    rows = [_row(point, material) for point in group.points]
    sentence = (
        "The dashed steps join the models that no other one beats; a hollow point is beaten: another model "
        "is at least as accurate and at least as fast. Whiskers are 95 % intervals: where they overlap, the "
        "order may be chance."
    )
    return joined(
        paragraph(f"Accuracy on {where}"),
        element("figure", *shown, element("figcaption", sentence)),
        table(f"Accuracy and latency, {group.machine.in_words()}", _HEADERS, rows),
    )


def _plot(points: list[FrontierPoint], material: ReportMaterial, where: str) -> Markup:
    dots = [
        ScatterPoint(
            _name(point, material), point.latency_ms or 0.0, point.ap or 0.0, point.interval, point.best
        )
        for point in points
    ]
    best = ", ".join(dot.name for dot in sorted(dots, key=lambda dot: dot.x) if dot.best)
    words = Words("Accuracy against latency", f"{where} Not beaten: {best}.")
    return scatter(dots, words, ("latency p50, ms", "AP"))


def _name(point: FrontierPoint, material: ReportMaterial) -> str:
    return material.name_of(point.measured.sha256)


def _row(point: FrontierPoint, material: ReportMaterial) -> tuple[str, ...]:
    bench, drawn = point.benchmark.report, point.ap is not None and point.latency_ms is not None
    return (
        _name(point, material),
        short(point.measured.sha256),
        point.measured.precision,
        with_interval(point.measured.ap),
        number(bench.latency_ms.p50, 2),
        number(bench.latency_ms.p95, 2),
        f"{bench.backend.runtime} {bench.backend.version}, {bench.backend.delegate_used}",
        ("no" if point.best else "yes") if drawn else NOT_MEASURED,
    )


def _accuracy_alone(material: ReportMaterial) -> Markup:
    alone = without_latency(material)
    rows = [
        (
            material.name_of(model.sha256), short(model.sha256), model.precision, with_interval(model.ap),
            NOT_MEASURED, material.data_in_words(model.data),
        )
        for model in measured_models(material)
        if model.sha256 in alone
    ]  # fmt: skip
    if not rows:
        return Markup("")
    headers = ("model", "sha256", "weights", "AP [95 % interval]", "latency", "measured on")
    return table("Accuracy without latency", headers, rows)


def _gaps(material: ReportMaterial) -> list[Markup]:
    latency = [material.name_of(digest) for digest in without_latency(material)]
    accuracy = [material.name_of(digest) for digest in without_accuracy(material)]
    said = []
    if latency:
        said.append(paragraph(f"Latency {NOT_MEASURED}: no benchmark record of {', '.join(latency)}."))
    if accuracy:
        said.append(paragraph(f"Accuracy {NOT_MEASURED}: no evaluation record of {', '.join(accuracy)}."))
    return said
