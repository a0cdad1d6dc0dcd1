"""A training: loss and accuracy over its steps, and the forms of the student."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, number, with_interval
from edgepose.host.report.markup import Markup, element, joined, paragraph, table
from edgepose.host.report.material import ReportMaterial, ReportRecord, TrainingCurve, short
from edgepose.host.report.plots.bars import curve
from edgepose.host.report.plots.frame import Words
from edgepose.records.distillation_report import DistillationReport, QuantizationAwareTuning

_MOST_ROWS = 24


def section(material: ReportMaterial) -> Markup | None:
    """The part; None without trainings."""
    parts = [_training(record, material) for record in material.distillations]
    return joined(*parts) if parts else None


def _training(record: ReportRecord[DistillationReport], material: ReportMaterial) -> Markup:
    report = record.report
    options, data = report.options, report.data
    teacher = (
        "labels alone, without a teacher"
        if report.teacher is None
        else f"teacher {report.teacher.file_name} ({short(report.teacher.sha256)}, {report.teacher.targets})"
    )
    figure = None if report.evaluation is None else report.evaluation.metrics.get("oks_ap")
    on = "" if report.evaluation is None else f", on {material.data_in_words(report.evaluation.dataset)}"
    ended = {"steps": "as planned", "time_limit": "by its time limit"}[report.ended_by]
    return joined(
        element("h3", f"{options.student}, {options.input_wh[0]}x{options.input_wh[1]} pixels"),
        paragraph(
            f"{report.parameters} weights, learned from {teacher}, on {data.images} pictures with "
            f"{data.persons} persons (data {short(data.digest)}). {report.steps_done} of {options.steps} "
            f"steps of {options.batch_size}, seed {options.seed}, {number(report.seconds / 60, 1)} minutes, "
            f"ended {ended}. Loss at the end {number(report.loss)}. AP: {with_interval(figure)}{on}."
        ),
        _curves(material.curves.get(record.sha256)),
        _forms(report.quantization_aware),
    )


def _curves(found: TrainingCurve | None) -> Markup:
    if found is None:
        return paragraph(f"Loss and AP over steps: {NOT_MEASURED}; no metrics.jsonl lies beside the record.")
    return joined(
        _curve(found.losses, "Loss over steps", "loss"),
        _curve(found.accuracies, "AP on the validation pictures over steps", "AP"),
        paragraph(f"{found.unreadable} lines of metrics.jsonl are no measurement and were left out.")
        if found.unreadable
        else Markup(""),
    )


def _curve(places: tuple[tuple[float, float], ...], title: str, name: str) -> Markup:
    if not places:
        return paragraph(f"{title}: {NOT_MEASURED}.")
    (first, begin), (last, end) = places[0], places[-1]
    words = Words(title, f"From {begin:.3f} at step {first:g} to {end:.3f} at step {last:g}.")
    every = -(-len(places) // _MOST_ROWS)
    rows = [(f"{step:.0f}", f"{value:.4f}") for step, value in (*places[:-1:every], places[-1])]
    part = "" if every == 1 else f", every {every}th measurement and the last"
    return joined(
        element("figure", curve(places, words, ("step", name)), element("figcaption", title)),
        element("details", element("summary", "figures"), table(f"{title}{part}", ("step", name), rows)),
    )


def _forms(tuned: QuantizationAwareTuning | None) -> Markup:
    if tuned is None:
        return paragraph("There was no quantization-aware fine-tuning, so no int8 student was measured.")
    forms = {
        "float": tuned.float_student,
        "fine-tuned, rounded in the training": tuned.fake_quantized,
        "fine-tuned, int8 file": tuned.converted,
        "plain post-training int8": tuned.plain,
    }
    rows = [
        (name, number(form.oks_ap), number(form.pck), number(form.agreement_oks, 4))
        for name, form in forms.items()
    ]
    title = f"Forms of the student, on {tuned.measured_on} pictures"
    return table(title, ("form", "AP", "PCK@0.2", "OKS with float"), rows)
