"""Sentences that several parts say."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED
from edgepose.host.report.markup import Markup, bullets, joined, paragraph
from edgepose.host.report.material import ReportMaterial
from edgepose.records.device_status import HealthReport
from edgepose.records.evaluation_report import GateResult


def about_people(material: ReportMaterial) -> Markup:
    """What nobody may conclude from data without a name."""
    unnamed = [
        record.report.dataset.digest
        for record in material.all_evaluations()
        if record.report.dataset.digest not in material.data_names
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
