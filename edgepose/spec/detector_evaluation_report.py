"""What ``edgepose evaluate`` reports of a person detector."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.evaluation_report import EvaluatedModel
from edgepose.spec.records import Record


class DetectorFigures(Record, frozen=True, kw_only=True):
    """How good one detector is, on pictures that were not learned from.

    Attributes:
        box_ap: AP of person boxes over IoU .50:.05:.95; None where nobody is labelled.
        box_ap50: AP at IoU .50.
        recall: Share of persons found with score 0.25 at IoU .50.
        persons: Persons that were to be found.
    """

    box_ap: float | None
    box_ap50: float | None
    recall: float | None
    persons: int


class EmptyPictures(Record, frozen=True, kw_only=True):
    """What a detector sees where nobody is.

    Attributes:
        images: Pictures without a person.
        false_persons_per_picture: Boxes with score 0.25 or more a picture.
    """

    images: int
    false_persons_per_picture: float


class DetectorEvaluationReport(Record, frozen=True, kw_only=True):
    """The whole record.

    Attributes:
        schema: ``edgepose.detector_evaluation/1``.
        model: The detector.
        digest: sha256 over pictures and labels.
        images: Labelled pictures.
        figures: How good it is on them.
        empty: What it sees where nobody is; None where no such pictures were given.
    """

    schema: Literal["edgepose.detector_evaluation/1"]
    model: EvaluatedModel
    digest: str
    images: int
    figures: DetectorFigures
    empty: EmptyPictures | None
