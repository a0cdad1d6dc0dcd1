"""How well the card's detectors find persons."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, number
from edgepose.host.model_card.markdown import Cell, paragraph, table
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.evaluation_report import DetectorFigures, EmptyPictures

_WHAT = (
    "Box AP is COCO's over IoU 0.50 to 0.95, AP50 that at IoU 0.50; recall is the share of persons found "
    "with score 0.25 at IoU 0.50, false persons are boxes with that score where nobody is. No interval was "
    "computed."
)
_HEADERS = ("detector", "box AP", "AP50", "recall", "persons", "false persons a picture")


def person_detector(material: CardMaterial) -> str:
    """Figures of each detector, and of a teacher on the same pictures; a file without any says so."""
    evaluations = {one.report.model.sha256: one.report for one in material.detector_evaluations}
    rows: list[tuple[Cell, ...]] = []
    for model in material.detectors():
        report = evaluations.get(model.inspection.sha256)
        rows.append(
            _row(model.file_name, report.figures if report else None, report.empty if report else None)
        )
    for record in material.detector_distillations:
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
