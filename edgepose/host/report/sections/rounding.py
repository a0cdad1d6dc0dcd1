"""int8 against float: paired differences, keypoints, the gate, and how the model was quantized."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, difference, number, with_interval
from edgepose.host.report.comparison import Difference, KeypointFigures, differences, keypoint_figures
from edgepose.host.report.markup import Markup, element, joined, paragraph, table
from edgepose.host.report.material import ReportMaterial, ReportRecord, short
from edgepose.host.report.plots.bars import bars, whiskers
from edgepose.host.report.plots.frame import Words
from edgepose.host.report.sections.notes import about_people, gate_in_words
from edgepose.records.evaluation_report import EvaluationReport
from edgepose.records.quantization import QuantizationReport

_WORST_TENSORS = 8


def section(material: ReportMaterial) -> Markup | None:
    """The part; None without a comparison, a judgement and a quantization."""
    compared = [
        one.report for one in material.all_evaluations() if one.report.baseline or one.report.gate is not None
    ]
    parts = [_comparison(report, material) for report in compared]
    if any(report.baseline for report in compared):
        parts.append(about_people(material))
    parts += [_quantization(record) for record in material.quantizations]
    return joined(*parts) if parts else None


def _comparison(report: EvaluationReport, material: ReportMaterial) -> Markup:
    own = f"{material.name_of(report.model.sha256)} ({report.model.precision})"
    baseline = report.baseline
    if baseline is None:
        said = paragraph(f"Difference from a float parent: {NOT_MEASURED}; the record has no baseline.")
        return joined(element("h3", own), said, gate_in_words(report.gate))
    title = f"{own} minus {material.name_of(baseline.sha256)} ({baseline.precision})"
    data = material.data_in_words(report.dataset)
    return joined(
        element("h3", title),
        paragraph(f"Measured on the same persons: {data}. A loss is negative."),
        gate_in_words(report.gate),
        _differences(differences(report), title, report),
        _keypoints(keypoint_figures(report, material), title),
    )


def _differences(rows: list[Difference], title: str, report: EvaluationReport) -> Markup:
    words = Words(
        "Paired difference with its 95 % interval", f"{title}. A hollow dot has too few persons to judge."
    )
    persons = report.dataset.persons
    cells = [
        (row.name, difference(row.figure), str(persons if row.persons is None else row.persons),
         "yes" if row.judged else "no, too few persons")
        for row in rows
    ]  # fmt: skip
    slices = "" if report.slices else f" Slices: {NOT_MEASURED}."
    return joined(
        element("figure", whiskers([row.row() for row in rows], words, "difference (fraction, 0 is equal)")),
        paragraph(f"A whisker that reaches across the line at 0 may be chance.{slices}"),
        table(f"Paired difference, {title}", ("figure", "difference", "persons", "enough to judge"), cells),
    )


def _keypoints(rows: list[KeypointFigures], title: str) -> Markup:
    if not rows:
        return paragraph(f"PCK of each keypoint: {NOT_MEASURED}.")
    compared = any(row.other is not None for row in rows)
    said = (
        "Bars are this model, thin lines its 95 % interval, upright lines the baseline."
        if compared
        else f"Bars are this model, thin lines its 95 % interval. The baseline's own PCK of each keypoint: "
        f"{NOT_MEASURED}; give its evaluation record too."
    )
    words = Words("PCK@0.2 of each keypoint", said)
    cells = [
        (row.name, with_interval(row.own), with_interval(row.other),
         NOT_MEASURED if row.own is None else str(row.own.sample_count))
        for row in rows
    ]  # fmt: skip
    headers = ("keypoint", "PCK@0.2 of this model", "of the baseline", "labelled")
    return joined(
        element("figure", bars([row.bar() for row in rows], words, "PCK@0.2"), element("figcaption", said)),
        table(f"PCK@0.2 of each keypoint, {title}", headers, cells),
    )


def _quantization(record: ReportRecord[QuantizationReport]) -> Markup:
    report = record.report
    agreement = f"{number(report.agreement_oks, 4)} on {report.agreement_crops} crops"
    agreement = NOT_MEASURED if report.agreement_oks is None else agreement
    data = report.calibration
    calibrated = (
        "No pictures calibrated it."
        if data is None
        else f"{data.crops} crops of {data.images} pictures (data {short(data.digest)}) calibrated it."
    )
    integer = {True: "integers only", False: "float ops inside", None: "float ops: not measured"}
    return joined(
        element("h3", f"How {short(report.model.sha256)} was quantized"),
        paragraph(
            f"Recipe {report.recipe.name}, {report.model.format}, {report.model.precision}, "
            f"{integer[report.model.integer_only]}. {calibrated} Mean OKS with the float model on crops "
            f"that set no range: {agreement}. Agreement is no accuracy."
        ),
        _repair(report),
        _tensors(report),
    )


def _repair(report: QuantizationReport) -> Markup:
    rows = [
        (step.name, number(step.agreement_oks, 4), "yes" if step.kept else "no") for step in report.repair
    ]
    if not rows:
        return Markup("")
    return table("Repairs that were tried", ("tried", "OKS with float", "best until then"), rows)


def _tensors(report: QuantizationReport) -> Markup:
    rows = [
        (error.name, error.op, number(error.sqnr_db, 1), number(error.relative_error, 4))
        for error in report.tensor_errors[:_WORST_TENSORS]
    ]
    if not rows:
        return paragraph(f"Errors of single tensors: {NOT_MEASURED}.")
    return table(
        "Tensors farthest from float", ("tensor", "op", "signal to noise, dB", "relative error"), rows
    )
