"""The measured parts of a model card: accuracy, detectors, failures, latency, what int8 costs."""

from __future__ import annotations

from edgepose.host.report.inputs import CardInputs
from edgepose.host.report.markdown import Cell, Code, bullets, paragraph, table
from edgepose.host.report.wording import METRICS, NOT_MEASURED, NOT_STATED, difference, number, with_interval
from edgepose.records.benchmark_report import BenchmarkDevice, BenchmarkReport
from edgepose.records.distillation_report import DistillationReport
from edgepose.records.evaluation_report import (
    DetectorFigures,
    EmptyPictures,
    EvaluationReport,
    MetricFigure,
    SliceReport,
)
from edgepose.runtime.benchmark import MLPERF_DURATION_S

_SHORT_DIGEST = 12


def evaluation_name(index: int) -> str:
    """How tables call an evaluation."""
    return f"E{index + 1}"


def evaluated_as(report: EvaluationReport, inputs: CardInputs) -> str:
    """Model, and whose boxes it got."""
    name = inputs.name_of(report.model.sha256, report.model.path)
    return f"{name}, {_boxes(report, inputs)}"


def evaluation_data(inputs: CardInputs) -> str:
    """What accuracy was measured on."""
    reports = inputs.all_evaluations()
    if not reports:
        return f"Accuracy: {NOT_MEASURED}."
    rows: dict[str, tuple[Cell, ...]] = {}
    for report in reports:
        data = report.dataset
        compared = f"{len(data.keypoints)} of {data.keypoints_of_data}"
        rows[data.digest] = (
            _data_name(data.digest, inputs),
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


def overall_accuracy(inputs: CardInputs) -> str:
    """One row an evaluation; a file without one says so."""
    reports = inputs.all_evaluations()
    rows: list[tuple[Cell, ...]] = []
    for index, report in enumerate(reports):
        name = inputs.name_of(report.model.sha256, report.model.path)
        figures = (with_interval(report.metrics.get(metric)) for metric in METRICS)
        rows.append((
            evaluation_name(index), name, _boxes(report, inputs),
            _data_cell(report.dataset.digest, inputs), str(report.dataset.persons), *figures,
        ))  # fmt: skip
    seen = {one.model.sha256 for one in reports}
    seen |= {model.inspection.sha256 for model in inputs.detectors()}
    rows += [
        ("-", model.file_name, *(NOT_MEASURED,) * (3 + len(METRICS)))
        for model in inputs.models
        if model.inspection.sha256 not in seen
    ]
    return table(("", "model", "boxes", "data", "persons", *METRICS.values()), rows)


def accuracy_by_keypoint(inputs: CardInputs) -> str:
    """PCK of each keypoint, an evaluation a column."""
    reports = inputs.all_evaluations()
    names = dict.fromkeys(name for report in reports for name in report.per_keypoint)
    if not names:
        return f"Per keypoint: {NOT_MEASURED}."
    rows = [(name, *(_keypoint_cell(report, name) for report in reports)) for name in names]
    headers = ("PCK@0.2 (labelled)", *map(evaluation_name, range(len(reports))))
    return table(headers, rows)


def accuracy_by_slice(inputs: CardInputs) -> str:
    """AP of each slice that has enough persons, an evaluation a column."""
    reports = dict(enumerate(inputs.all_evaluations()))
    measured = {index: report for index, report in reports.items() if report.slices}
    without = [evaluation_name(index) for index in reports if index not in measured]
    if not measured:
        return f"Slices: {NOT_MEASURED}."
    names = dict.fromkeys(name for report in measured.values() for name in report.slices)
    rows = [(name, *(_slice_cell(one.slices.get(name)) for one in measured.values())) for name in names]
    shown = table(("AP of the slice", *map(evaluation_name, measured)), rows)
    return shown if not without else f"{shown}\n\nSlices of {', '.join(without)}: {NOT_MEASURED}."


def _data_name(digest: str, inputs: CardInputs) -> str:
    named = () if inputs.notes is None else inputs.notes.evaluation_data
    return next((source.name for source in named if source.digest == digest), NOT_STATED)


def _data_cell(digest: str, inputs: CardInputs) -> Cell:
    name = _data_name(digest, inputs)
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


def _boxes(report: EvaluationReport, inputs: CardInputs) -> str:
    source = report.dataset.boxes_from
    if source == "detector" and report.detector is not None:
        return f"detector {inputs.name_of(report.detector.sha256, report.detector.path)}"
    return {"labels": "ground truth", "whole_image": "whole picture", "detector": "a detector"}[source]


_WHAT = (
    "Box AP is COCO's over IoU 0.50 to 0.95, AP50 that at IoU 0.50; recall is the share of persons found "
    "with score 0.25 at IoU 0.50, false persons are boxes with that score where nobody is. No interval was "
    "computed."
)
_HEADERS = ("detector", "box AP", "AP50", "recall", "persons", "false persons a picture")


def person_detector(inputs: CardInputs) -> str:
    """Figures of each detector, and of a teacher on the same images; a file without any says so."""
    evaluations = {one.report.model.sha256: one.report for one in inputs.detector_evaluations}
    rows: list[tuple[Cell, ...]] = []
    for model in inputs.detectors():
        report = evaluations.get(model.inspection.sha256)
        rows.append(
            _row(model.file_name, report.figures if report else None, report.empty if report else None)
        )
    for record in inputs.detector_distillations:
        teacher = record.report.teacher
        if teacher is not None:
            rows.append(_row(f"{teacher.file_name}, the teacher", record.report.teacher_evaluation, None))
    return f"{table(_HEADERS, rows)}\n\n{paragraph(_WHAT)}"


def _row(name: str, figures: DetectorFigures | None, empty: EmptyPictures | None) -> tuple[Cell, ...]:
    false_persons = (
        NOT_MEASURED if empty is None else f"{number(empty.false_persons_per_picture)} on {empty.images}"
    )
    if figures is None:
        return (name, *(NOT_MEASURED,) * 4, false_persons)
    values = (number(figures.box_ap), number(figures.box_ap50), number(figures.recall), str(figures.persons))
    return (name, *values, false_persons)


# How many of the worst are named.
_WORST = 3


def known_failures(inputs: CardInputs) -> str:
    """Worst slices and keypoints of each evaluation, lost accuracy, then the maintainers' sentences."""
    parts = []
    for report in inputs.all_evaluations():
        found = [*_worst_slices(report), *_worst_keypoints(report), *_losses(report, inputs)]
        if found:
            parts += [paragraph(f"{evaluated_as(report, inputs)}:"), bullets(found)]
    if not parts:
        parts = ["From measurements: not measured."]
    seen = () if inputs.notes is None else inputs.notes.known_failures
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


def _losses(report: EvaluationReport, inputs: CardInputs) -> list[str]:
    found = []
    baseline = report.baseline
    if baseline is not None:
        other = inputs.name_of(baseline.sha256, baseline.path)
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


_LATENCY_HEADERS = (
    "model", "device", "runtime", "threads", "p50 ms", "p95 ms", "preprocess, infer, decode ms", "memory MiB",
    "frames",
)  # fmt: skip


def latency_table(inputs: CardInputs) -> str:
    """Image to poses, from the benchmark records."""
    reports = [record.report for record in inputs.benchmarks]
    rows: list[tuple[Cell, ...]] = [_latency_row(report, inputs) for report in reports]
    seen = {report.model.sha256 for report in reports}
    rows += [
        (model.file_name, *(NOT_MEASURED,) * (len(_LATENCY_HEADERS) - 1))
        for model in inputs.models
        if model.inspection.sha256 not in seen
    ]
    return f"{table(_LATENCY_HEADERS, rows)}\n\n{paragraph(_other_devices(reports, inputs.profiles))}"


def _latency_row(report: BenchmarkReport, inputs: CardInputs) -> tuple[Cell, ...]:
    backend, stages = report.backend, report.stages_ms
    outside = f", {backend.ops_on_cpu} of {backend.ops_total} ops outside it"
    short = (
        ""
        if report.duration_s >= MLPERF_DURATION_S
        else f" in {report.duration_s:.3g} s, too short to rely on"
    )
    return (
        inputs.name_of(report.model.sha256, report.model.name),
        _in_words(report.device),
        f"{backend.runtime} {backend.version}, {backend.delegate_used}{outside}",
        str(report.threads),
        number(report.latency_ms.p50, 2),
        number(report.latency_ms.p95, 2),
        ", ".join(number(stage, 2) for stage in (stages.preprocess, stages.infer, stages.decode)),
        number(report.peak_rss_mib, 0),
        f"{report.samples}{short}",
    )


def _in_words(device: BenchmarkDevice) -> str:
    words = f"{device.model or 'a machine that does not tell its name'}, {device.arch}"
    if device.profile is None or device.is_profile_device is None:
        return words
    return f"{words} ({'' if device.is_profile_device else 'not '}the device of profile {device.profile})"


def _other_devices(reports: list[BenchmarkReport], profiles: tuple[str, ...]) -> str:
    measured = {one.device.profile for one in reports if one.device.is_profile_device}
    missing = [name for name in profiles if name not in measured]
    if not missing:
        return "Every device that edgepose has a profile for was measured."
    return f"Other devices, {', '.join(missing)} among them: {NOT_MEASURED}."


def against_baselines(inputs: CardInputs) -> str:
    """Paired differences, for each evaluation that had a baseline."""
    rows: list[tuple[Cell, ...]] = []
    for report in inputs.all_evaluations():
        baseline = report.baseline
        if baseline is None:
            continue
        other = f"{inputs.name_of(baseline.sha256, baseline.path)} ({baseline.precision})"
        figures = (difference(baseline.delta.get(metric)) for metric in METRICS)
        rows.append((f"{evaluated_as(report, inputs)} ({report.model.precision})", other, *figures))
    if not rows:
        return f"Paired difference from the float parent: {NOT_MEASURED}."
    return table(("model", "minus", *METRICS.values()), rows)


def forms_of_one_student(inputs: CardInputs) -> str:
    """Float, fake-quantized, converted and plainly quantized, from the training records."""
    parts = [_forms(record.report) for record in inputs.distillations]
    shown = [part for part in parts if part]
    return "\n\n".join(shown) if shown else f"Fake-quantized against converted: {NOT_MEASURED}."


def _forms(report: DistillationReport) -> str:
    tuned = report.quantization_aware
    if tuned is None:
        return ""
    forms = {
        "float": tuned.float_student,
        "fine-tuned, fake-quantized in training": tuned.fake_quantized,
        "fine-tuned, converted, integers only": tuned.converted,
        "plain post-training quantization": tuned.plain,
    }
    rows = [
        (name, number(one.oks_ap), number(one.pck), number(one.agreement_oks, 4))
        for name, one in forms.items()
    ]
    shown = table((report.options.student, "AP", "PCK@0.2", "mean OKS with float"), rows)
    kept = {"plain": "the plain one, which has the higher AP", "fine_tuned": "the fine-tuned one"}[
        tuned.shipped
    ]
    apart = (
        f"On {tuned.measured_on} pictures, ground-truth boxes; agreement on {tuned.crops} persons. "
        f"Converted and fake-quantized outputs are {tuned.mean_steps_apart:.3g} steps of int8 apart on "
        f"average, {tuned.greatest_steps_apart:.3g} at most. The int8 file is {kept}."
    )
    return f"{shown}\n\n{paragraph(apart)}"
