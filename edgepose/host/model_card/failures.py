"""Known failures, read off the measurements, and those that the maintainers saw."""

from __future__ import annotations

from edgepose.host.model_card.accuracy import METRICS, evaluated_as
from edgepose.host.model_card.figures import NOT_STATED, difference, with_interval
from edgepose.host.model_card.markdown import bullets, paragraph
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.evaluation_report import EvaluationReport, MetricFigure

# How many of the worst are named.
_WORST = 3


def known_failures(material: CardMaterial) -> str:
    """Worst slices and keypoints of each evaluation, lost accuracy, then the maintainers' sentences."""
    parts = []
    for report in material.all_evaluations():
        found = [*_worst_slices(report), *_worst_keypoints(report), *_losses(report, material)]
        if found:
            parts += [paragraph(f"{evaluated_as(report, material)}:"), bullets(found)]
    if not parts:
        parts = ["From measurements: not measured."]
    seen = () if material.notes is None else material.notes.known_failures
    parts.append(
        f"Seen by the maintainers:\n\n{bullets(seen)}" if seen else f"Seen by the maintainers: {NOT_STATED}."
    )
    return "\n\n".join(parts)


def _worst_slices(report: EvaluationReport) -> list[str]:
    whole = report.metrics.get("oks_ap")
    if whole is None or whole.value is None:
        return []
    worse = [
        (part.oks_ap.value, name, part)
        for name, part in report.slices.items()
        if part.gated and part.oks_ap.value is not None and part.oks_ap.value < whole.value
    ]
    return [
        f"{name}, {part.persons} persons: AP {with_interval(part.oks_ap)}, {whole.value - value:.3f} "
        f"under that of all{_doubt(part.oks_ap, whole.value)}."
        for value, name, part in sorted(worse, key=lambda one: one[:2])[:_WORST]
    ]


def _doubt(figure: MetricFigure, whole: float) -> str:
    sure = figure.interval_95 is not None and figure.interval_95[1] < whole
    return "" if sure else ", which may be chance"


def _worst_keypoints(report: EvaluationReport) -> list[str]:
    figures = {name: parts.get("pck@0.2") for name, parts in report.per_keypoint.items()}
    known = [
        (figure.value, name, figure)
        for name, figure in figures.items()
        if figure and figure.value is not None
    ]
    worst = sorted(known, key=lambda one: one[:2])[:_WORST]
    if not worst:
        return []
    return [
        "Worst keypoints by PCK@0.2: "
        + ", ".join(f"{name} {with_interval(figure)}" for _, name, figure in worst)
        + "."
    ]


def _losses(report: EvaluationReport, material: CardMaterial) -> list[str]:
    found = []
    baseline = report.baseline
    if baseline is not None:
        other = material.name_of(baseline.sha256, baseline.path)
        for metric, name in METRICS.items():
            delta = baseline.delta.get(metric)
            if delta is not None and delta.interval_95 is not None and delta.interval_95[1] < 0:
                found.append(f"Loses {name} against {other}: {difference(delta)}.")
    for name, part in report.slices.items():
        delta = None if part.delta is None or not part.gated else part.delta.get("oks_ap")
        if delta is not None and delta.interval_95 is not None and delta.interval_95[1] < 0:
            found.append(f"Loses AP in {name}, {part.persons} persons: {difference(delta)}.")
    if report.gate is not None:
        found += [f"Gate of {report.gate.profile}: {one.message}" for one in report.gate.failures]
    return found
