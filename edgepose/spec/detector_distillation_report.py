"""What ``edgepose distill`` reports of a person detector."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.detector_evaluation_report import DetectorFigures
from edgepose.spec.model_report import ModelInspection
from edgepose.spec.records import Record


class DetectorTeacher(Record, frozen=True, kw_only=True):
    """The teacher.

    Attributes:
        file_name: Its file's name.
        sha256: Its digest.
    """

    file_name: str
    sha256: str


class DetectorData(Record, frozen=True, kw_only=True):
    """What was learned from.

    Attributes:
        digest: sha256 over pictures and boxes.
        images: Pictures.
        images_without_person: Of these, pictures in which nobody was labelled or found.
        persons: Boxes, the labels' and the teacher's joined.
    """

    digest: str
    images: int
    images_without_person: int
    persons: int


class DetectorOptions(Record, frozen=True, kw_only=True):
    """What decides the result, besides data and teacher."""

    student: str
    input_wh: tuple[int, int]
    start_sha256: str | None
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    labels_only: bool


class DetectorDistillationReport(Record, frozen=True, kw_only=True):
    """The whole record.

    Attributes:
        schema: ``edgepose.detector_distillation/1``.
        teacher: Who taught; None: labels alone.
        data: What was learned from.
        options: What was asked for.
        parameters: Weights of the student.
        steps_done: Steps that were done.
        ended_by: ``steps`` or ``time_limit``.
        seconds: Training time, all sessions together.
        loss: Mean of the last steps.
        precision: Keras dtype policy.
        versions: Of what trained.
        model: The float TFLite file.
        evaluation: The student on the validation pictures; None without them.
        teacher_evaluation: The teacher on the same.
    """

    schema: Literal["edgepose.detector_distillation/1"]
    teacher: DetectorTeacher | None
    data: DetectorData
    options: DetectorOptions
    parameters: int
    steps_done: int
    ended_by: Literal["steps", "time_limit"]
    seconds: float
    loss: float
    precision: str
    versions: dict[str, str]
    model: ModelInspection
    evaluation: DetectorFigures | None
    teacher_evaluation: DetectorFigures | None
