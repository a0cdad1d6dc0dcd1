"""What the model learned from."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED
from edgepose.host.model_card.markdown import Cell, Code, table
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport


def training_data(material: CardMaterial) -> str:
    """Amounts and the teacher, from the training records."""
    parts = [_of_one(record.report) for record in material.distillations]
    parts += [_of_detector(record.report) for record in material.detector_distillations]
    return "\n\n".join(parts) if parts else f"Pictures, persons and labels: {NOT_MEASURED}."


def _of_one(report: DistillationReport) -> str:
    data, teacher = report.data, report.teacher
    rows: list[tuple[Cell, Cell]] = [
        ("pictures", str(data.images)),
        ("persons", str(data.persons)),
        ("labelled keypoints", str(data.labelled_keypoints)),
        (
            "disputed labels (a confident teacher sees another place)",
            NOT_MEASURED if teacher is None else str(data.disputed_labels),
        ),
        ("persons left out for their size", str(data.too_small)),
        ("sha256 of pictures, boxes and labels", Code(data.digest)),
        ("teacher", "none, labels alone" if teacher is None else teacher.file_name),
    ]
    if teacher is not None:
        rows += [("what the teacher gave", teacher.targets), ("sha256 of the teacher", Code(teacher.sha256))]
    return table((report.options.student, ""), rows)


def _of_detector(report: DetectorDistillationReport) -> str:
    data, teacher = report.data, report.teacher
    rows: list[tuple[Cell, Cell]] = [
        ("pictures", str(data.images)),
        ("pictures without a person", str(data.images_without_person)),
        ("persons, the labels' and the teacher's", str(data.persons)),
        ("sha256 of pictures and boxes", Code(data.digest)),
        ("teacher", "none, labels alone" if teacher is None else teacher.file_name),
    ]
    if teacher is not None:
        rows.append(("sha256 of the teacher", Code(teacher.sha256)))
    return table((report.options.student, ""), rows)
