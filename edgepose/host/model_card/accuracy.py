"""Accuracy with its uncertainty: overall, by keypoint, by slice."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, NOT_STATED, with_interval
from edgepose.host.model_card.markdown import Cell, Code, table
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.evaluation_report import EvaluationReport, SliceReport

METRICS = {"oks_ap": "AP", "oks_ap50": "AP50", "oks_ap75": "AP75", "oks_ar": "AR", "pck@0.2": "PCK@0.2"}
_SHORT_DIGEST = 12


def evaluation_name(index: int) -> str:
    """How tables call an evaluation."""
    return f"E{index + 1}"


def evaluated_as(report: EvaluationReport, material: CardMaterial) -> str:
    """Model, and whose boxes it got."""
    name = material.name_of(report.model.sha256, report.model.path)
    return f"{name}, {_boxes(report, material)}"


def evaluation_data(material: CardMaterial) -> str:
    """What accuracy was measured on."""
    reports = material.all_evaluations()
    if not reports:
        return f"Accuracy: {NOT_MEASURED}."
    rows: dict[str, tuple[Cell, ...]] = {}
    for report in reports:
        data = report.dataset
        compared = f"{len(data.keypoints)} of {data.keypoints_of_data}"
        rows[data.digest] = (
            _data_name(data.digest, material),
            Code(data.digest),
            str(data.images),
            str(data.persons),
            compared,
        )
    shown = table(
        ("data", "sha256 of pictures and labels", "pictures", "persons", "keypoints compared"), rows.values()
    )
    draws = sorted({(one.bootstrap.resamples, one.bootstrap.seed) for one in reports})
    intervals = "; ".join(f"{resamples} resamples, seed {seed}" for resamples, seed in draws)
    return f"{shown}\n\nIntervals: 95 %, percentile bootstrap over pictures, {intervals}."


def overall(material: CardMaterial) -> str:
    """One row an evaluation; a file without one says so."""
    reports = material.all_evaluations()
    rows: list[tuple[Cell, ...]] = []
    for index, report in enumerate(reports):
        name = material.name_of(report.model.sha256, report.model.path)
        figures = (with_interval(report.metrics.get(metric)) for metric in METRICS)
        rows.append((
            evaluation_name(index), name, _boxes(report, material),
            _data_cell(report.dataset.digest, material), str(report.dataset.persons), *figures,
        ))  # fmt: skip
    seen = {one.model.sha256 for one in reports}
    seen |= {model.inspection.sha256 for model in material.detectors()}
    rows += [
        ("-", model.file_name, *(NOT_MEASURED,) * (3 + len(METRICS)))
        for model in material.models
        if model.inspection.sha256 not in seen
    ]
    return table(("", "model", "boxes", "data", "persons", *METRICS.values()), rows)


def per_keypoint(material: CardMaterial) -> str:
    """PCK of each keypoint, an evaluation a column."""
    reports = material.all_evaluations()
    names = dict.fromkeys(name for report in reports for name in report.per_keypoint)
    if not names:
        return f"Per keypoint: {NOT_MEASURED}."
    rows = [(name, *(_keypoint_cell(report, name) for report in reports)) for name in names]
    headers = ("PCK@0.2 (labelled)", *map(evaluation_name, range(len(reports))))
    return table(headers, rows)


def slices(material: CardMaterial) -> str:
    """AP of each slice that has enough persons, an evaluation a column."""
    reports = dict(enumerate(material.all_evaluations()))
    measured = {index: report for index, report in reports.items() if report.slices}
    without = [evaluation_name(index) for index in reports if index not in measured]
    if not measured:
        return f"Slices: {NOT_MEASURED}."
    names = dict.fromkeys(name for report in measured.values() for name in report.slices)
    rows = [(name, *(_slice_cell(one.slices.get(name)) for one in measured.values())) for name in names]
    shown = table(("AP of the slice", *map(evaluation_name, measured)), rows)
    return shown if not without else f"{shown}\n\nSlices of {', '.join(without)}: {NOT_MEASURED}."


def _data_name(digest: str, material: CardMaterial) -> str:
    named = () if material.notes is None else material.notes.evaluation_data
    return next((source.name for source in named if source.digest == digest), NOT_STATED)


def _data_cell(digest: str, material: CardMaterial) -> Cell:
    name = _data_name(digest, material)
    return Code(digest[:_SHORT_DIGEST]) if name == NOT_STATED else name


def _keypoint_cell(report: EvaluationReport, name: str) -> str:
    figure = report.per_keypoint.get(name, {}).get("pck@0.2")
    shown = with_interval(figure)
    return shown if figure is None or shown == NOT_MEASURED else f"{shown}, {figure.sample_count}"


def _slice_cell(part: SliceReport | None) -> str:
    if part is None:
        return NOT_MEASURED
    if not part.gated:
        return f"too few ({part.persons} persons)"
    return f"{with_interval(part.oks_ap)}, {part.persons} persons"


def _boxes(report: EvaluationReport, material: CardMaterial) -> str:
    source = report.dataset.boxes_from
    if source == "detector" and report.detector is not None:
        return f"detector {material.name_of(report.detector.sha256, report.detector.path)}"
    return {"labels": "ground truth", "whole_image": "whole picture", "detector": "a detector"}[source]
