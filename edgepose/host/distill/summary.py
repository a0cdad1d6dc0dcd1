"""The record of a distillation in a few lines."""

from __future__ import annotations

from pathlib import Path

from edgepose.spec.distillation_report import DistillationReport, QuantizationAwareTuning


def summary(report: DistillationReport, output: Path) -> str:
    """The record in a few lines."""
    data, options = report.data, report.options
    taught = "labels alone" if report.teacher is None else f"{report.teacher.file_name}"
    lines = [
        (
            f"{output / 'model.tflite'}: {options.student}, {report.parameters / 1e6:.2f} M parameters, "
            f"{report.model.size_bytes / 2**20:.2f} MiB"
        ),
        (
            f"  learned from {taught}: {data.persons} persons in {data.images} images, "
            f"{data.labelled_keypoints} labelled keypoints ({data.disputed_labels} disputed), "
            f"{report.steps_done} steps in {report.seconds / 60:.1f} min, ended by {report.ended_by}"
        ),
    ]
    if report.evaluation is not None:
        metrics = report.evaluation.metrics
        shown = ", ".join(
            f"{name} {figure.value:.3f}" for name, figure in metrics.items() if figure.value is not None
        )
        lines.append(f"  on {report.evaluation.dataset.persons} other persons: {shown}")
    tuned = report.quantization_aware
    if tuned is not None:
        lines += _int8_lines(tuned, output)
    return "\n".join(lines)


def _int8_lines(tuned: QuantizationAwareTuning, output: Path) -> list[str]:
    forms = {
        "float": tuned.float_student,
        "fake-quantized": tuned.fake_quantized,
        "int8": tuned.converted,
        "plain int8": tuned.plain,
    }
    parts = []
    for name, figures in forms.items():
        values = {"AP": figures.oks_ap, "PCK": figures.pck, "agreement": figures.agreement_oks}
        shown = " ".join(f"{what} {value:.3f}" for what, value in values.items() if value is not None)
        parts.append(f"{name} {shown or '-'}")
    return [
        (
            f"{output / 'model_int8.tflite'}: integer only, {tuned.model.size_bytes / 2**20:.2f} MiB, "
            f"{tuned.steps} steps of fine-tuning in {tuned.seconds / 60:.1f} min"
        ),
        f"  on {tuned.measured_on} pictures: {'; '.join(parts)}; kept: {tuned.shipped.replace('_', '-')}",
    ]
