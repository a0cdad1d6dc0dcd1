"""What int8 costs: against the float parent, and the same weights in several forms."""

from __future__ import annotations

from edgepose.host.model_card.accuracy import METRICS, evaluated_as
from edgepose.host.model_card.figures import NOT_MEASURED, difference, number
from edgepose.host.model_card.markdown import Cell, paragraph, table
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.distillation_report import DistillationReport


def against_baselines(material: CardMaterial) -> str:
    """Paired differences, for each evaluation that had a baseline."""
    rows: list[tuple[Cell, ...]] = []
    for report in material.all_evaluations():
        baseline = report.baseline
        if baseline is None:
            continue
        other = f"{material.name_of(baseline.sha256, baseline.path)} ({baseline.precision})"
        figures = (difference(baseline.delta.get(metric)) for metric in METRICS)
        rows.append((f"{evaluated_as(report, material)} ({report.model.precision})", other, *figures))
    if not rows:
        return f"Paired difference from the float parent: {NOT_MEASURED}."
    return table(("model", "minus", *METRICS.values()), rows)


def forms_of_one_student(material: CardMaterial) -> str:
    """Float, fake-quantized, converted and plainly quantized, from the training records."""
    parts = [_forms(record.report) for record in material.distillations]
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
