"""Parts of the page about accuracy: against latency, and int8 against float."""

from __future__ import annotations

from edgepose.host.report.inputs import ReportInputs, ReportRecord, short
from edgepose.host.report.markup import Markup, bullets, element, joined, paragraph, table
from edgepose.host.report.matching import (
    Difference,
    FrontierGroup,
    FrontierPoint,
    KeypointFigures,
    differences,
    frontier_groups,
    keypoint_figures,
    measured_models,
    without_accuracy,
    without_latency,
)
from edgepose.host.report.plot_bars import bars, whiskers
from edgepose.host.report.plot_frame import Words
from edgepose.host.report.plot_scatter import ScatterPoint, scatter
from edgepose.host.report.wording import NOT_MEASURED, difference, number, with_interval
from edgepose.records.device_status import HealthReport
from edgepose.records.evaluation_report import EvaluationReport, GateResult
from edgepose.records.quantization import QuantizationReport


def about_people(inputs: ReportInputs) -> Markup:
    """What cannot be concluded from data without a name."""
    unnamed = [
        record.report.dataset.digest
        for record in inputs.all_evaluations()
        if record.report.dataset.digest not in inputs.data_names
    ]
    if not unnamed:
        return Markup("")
    return paragraph(
        "Records say how many persons were measured, not whether they are people or drawn figures. Accuracy "
        "on data without a name is accuracy on those pictures, and says nothing about people elsewhere.",
        class_="note",
    )


def gate_in_words(gate: GateResult | None) -> Markup:
    """The gate's verdict."""
    if gate is None:
        return paragraph("The gate did not judge this model: the record holds no verdict.")
    verdict = "passed" if gate.passed else "failed"
    accuracy = (
        "Accuracy was measured on labels."
        if gate.accuracy == "measured"
        else "Accuracy was not measured: agreement with the float model stands in for it."
    )
    left = f" Left to the device: {', '.join(gate.not_measured)}." if gate.not_measured else ""
    said = paragraph(
        f"The gate of profile {gate.profile} {verdict}. {accuracy}{left}", class_=f"gate-{verdict}"
    )
    if not gate.failures:
        return said
    return joined(said, bullets(f"{one.name}: {one.message}" for one in gate.failures))


def health_in_words(health: HealthReport | None) -> Markup:
    """Where a model was verified, and what that does not say."""
    if health is None:
        return paragraph(f"Health check: {NOT_MEASURED}; nothing was installed.")
    where = {
        "host": "on the host, a preview: nothing here was verified on a device",
        "device": "on the device",
    }[health.verified_on]
    accelerator = {"verified": "verified", "not_verified": "not verified"}[health.accelerator]
    said = paragraph(
        f"The health check {'passed' if health.passed else 'failed'} {where}. Accelerator: {accelerator}. "
        f"{health.frames} golden frames were replayed.",
        class_="gate-passed" if health.passed else "gate-failed",
    )
    return joined(said, bullets(health.failures)) if health.failures else said


_HEADERS = (
    "model", "sha256", "weights", "AP [95 % interval]", "p50 ms", "p95 ms", "runtime", "beaten",
)  # fmt: skip


def accuracy_latency_section(inputs: ReportInputs) -> Markup | None:
    """The part; None without evaluations and benchmarks."""
    models = measured_models(inputs)
    if not models and not inputs.benchmarks:
        return None
    groups = frontier_groups(inputs)
    parts = [_group(group, inputs) for group in groups]
    if not groups:
        parts.append(paragraph(f"No model has both figures, so accuracy against latency is {NOT_MEASURED}."))
    return joined(*parts, _accuracy_alone(inputs), *_gaps(inputs), about_people(inputs))


def _group(group: FrontierGroup, inputs: ReportInputs) -> Markup:
    where = f"{inputs.data_in_words(group.data)}. Latency on {group.machine.in_words()}."
    drawn = [point for point in group.points if point.ap is not None and point.latency_ms is not None]
    shown = [_plot(drawn, inputs, where)] if drawn else [paragraph(f"AP or latency: {NOT_MEASURED}.")]
    rows = [_row(point, inputs) for point in group.points]
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


def _plot(points: list[FrontierPoint], inputs: ReportInputs, where: str) -> Markup:
    dots = [
        ScatterPoint(
            _name(point, inputs), point.latency_ms or 0.0, point.ap or 0.0, point.interval, point.best
        )
        for point in points
    ]
    best = ", ".join(dot.name for dot in sorted(dots, key=lambda dot: dot.x) if dot.best)
    words = Words("Accuracy against latency", f"{where} Not beaten: {best}.")
    return scatter(dots, words, ("latency p50, ms", "AP"))


def _name(point: FrontierPoint, inputs: ReportInputs) -> str:
    return inputs.name_of(point.measured.sha256)


def _row(point: FrontierPoint, inputs: ReportInputs) -> tuple[str, ...]:
    bench, drawn = point.benchmark.report, point.ap is not None and point.latency_ms is not None
    return (
        _name(point, inputs),
        short(point.measured.sha256),
        point.measured.precision,
        with_interval(point.measured.ap),
        number(bench.latency_ms.p50, 2),
        number(bench.latency_ms.p95, 2),
        f"{bench.backend.runtime} {bench.backend.version}, {bench.backend.delegate_used}",
        ("no" if point.best else "yes") if drawn else NOT_MEASURED,
    )


def _accuracy_alone(inputs: ReportInputs) -> Markup:
    alone = without_latency(inputs)
    rows = [
        (
            inputs.name_of(model.sha256), short(model.sha256), model.precision, with_interval(model.ap),
            NOT_MEASURED, inputs.data_in_words(model.data),
        )
        for model in measured_models(inputs)
        if model.sha256 in alone
    ]  # fmt: skip
    if not rows:
        return Markup("")
    headers = ("model", "sha256", "weights", "AP [95 % interval]", "latency", "measured on")
    return table("Accuracy without latency", headers, rows)


def _gaps(inputs: ReportInputs) -> list[Markup]:
    latency = [inputs.name_of(digest) for digest in without_latency(inputs)]
    accuracy = [inputs.name_of(digest) for digest in without_accuracy(inputs)]
    said = []
    if latency:
        said.append(paragraph(f"Latency {NOT_MEASURED}: no benchmark record of {', '.join(latency)}."))
    if accuracy:
        said.append(paragraph(f"Accuracy {NOT_MEASURED}: no evaluation record of {', '.join(accuracy)}."))
    return said


_WORST_TENSORS = 8


def rounding_section(inputs: ReportInputs) -> Markup | None:
    """The part; None without a comparison, a judgement and a quantization."""
    compared = [
        one.report for one in inputs.all_evaluations() if one.report.baseline or one.report.gate is not None
    ]
    parts = [_comparison(report, inputs) for report in compared]
    if any(report.baseline for report in compared):
        parts.append(about_people(inputs))
    parts += [_quantization(record) for record in inputs.quantizations]
    return joined(*parts) if parts else None


def _comparison(report: EvaluationReport, inputs: ReportInputs) -> Markup:
    own = f"{inputs.name_of(report.model.sha256)} ({report.model.precision})"
    baseline = report.baseline
    if baseline is None:
        said = paragraph(f"Difference from a float parent: {NOT_MEASURED}; the record has no baseline.")
        return joined(element("h3", own), said, gate_in_words(report.gate))
    title = f"{own} minus {inputs.name_of(baseline.sha256)} ({baseline.precision})"
    data = inputs.data_in_words(report.dataset)
    return joined(
        element("h3", title),
        paragraph(f"Measured on the same persons: {data}. A loss is negative."),
        gate_in_words(report.gate),
        _differences(differences(report), title, report),
        _keypoints(keypoint_figures(report, inputs), title),
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
