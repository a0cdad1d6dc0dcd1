"""What ``edgepose distill`` reports, of a pose model and of a person detector."""

from __future__ import annotations

from typing import Literal

from edgepose.records.drift_record import FeatureName
from edgepose.records.evaluation_report import DetectorFigures, EvaluationReport
from edgepose.records.lineage import ModelInspection
from edgepose.records.record import Record


class DistillationTeacher(Record, frozen=True, kw_only=True):
    """The teacher.

    Attributes:
        file_name: Its file's name.
        sha256: Its digest.
        targets: ``heatmaps`` of its own, or ``keypoints`` that were rendered.
    """

    file_name: str
    sha256: str
    targets: Literal["heatmaps", "keypoints"]


class DistillationData(Record, frozen=True, kw_only=True):
    """What was learned from.

    Attributes:
        digest: sha256 over images, boxes and labels.
        images: Images with at least one usable person.
        persons: Usable persons.
        labelled_keypoints: Labelled keypoints in all.
        disputed_labels: Labels where a confident teacher sees another place.
        too_small: Persons left out for their size.
    """

    digest: str
    images: int
    persons: int
    labelled_keypoints: int
    disputed_labels: int
    too_small: int


class DistillationOptions(Record, frozen=True, kw_only=True):
    """What decides the result, besides data and teacher.

    Attributes:
        student: Name of the student.
        input_wh: Width and height of its input in pixels.
        start_sha256: Digest of the weights that it started from; None for fresh ones.
        augmentation: How strongly views differ.
        seed: Of weights, order and augmentation.
        steps: Steps planned.
        batch_size: Samples a step.
        learning_rate: Highest rate.
        labels_only: Whether the teacher was left out.
    """

    student: str
    input_wh: tuple[int, int]
    start_sha256: str | None
    augmentation: str
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    labels_only: bool


class RoundedFigures(Record, frozen=True, kw_only=True):
    """How good one form of the student is.

    Attributes:
        oks_ap: AP with the labels' boxes; None without validation images.
        pck: Share of keypoints within 0.2 of the torso's size; None without validation images.
        agreement_oks: Mean OKS with the float student's confident poses; None where there was none.
    """

    oks_ap: float | None
    pck: float | None
    agreement_oks: float | None


class QuantizationAwareTuning(Record, frozen=True, kw_only=True):
    """Fine-tuning with the rounding of int8, and what it gave.

    Attributes:
        steps: Steps done.
        learning_rate: Highest rate.
        resumed_from: Step of the checkpoint that the last session went on from.
        seconds: Time of the steps, all sessions together.
        loss: Mean loss of the last steps, with rounding.
        measured_on: ``validation`` images, or ``training`` images where there were no others.
        crops: Persons that the agreement was measured on.
        float_student: ``model.tflite``.
        fake_quantized: The fine-tuned student in the training's framework, rounded.
        converted: The same as a file, by the device's runtime in integers.
        plain: ``model.tflite`` by plain post-training quantization.
        shipped: Which of the two files is ``model_int8.tflite``: ``plain`` only where its AP on validation
            images is higher.
        mean_steps_apart: Mean difference of ``converted`` and ``fake_quantized`` in steps of the output.
        greatest_steps_apart: The greatest one.
        model: ``model_int8.tflite``.
    """

    steps: int
    learning_rate: float
    resumed_from: int | None
    seconds: float
    loss: float
    measured_on: Literal["validation", "training"]
    crops: int
    float_student: RoundedFigures
    fake_quantized: RoundedFigures
    converted: RoundedFigures
    plain: RoundedFigures
    shipped: Literal["fine_tuned", "plain"]
    mean_steps_apart: float
    greatest_steps_apart: float
    model: ModelInspection


class DriftCoverage(Record, frozen=True, kw_only=True):
    """Whether the training images show what a device sees.

    Attributes:
        feature: What drifted.
        typical: Its median on the device now.
        reference: The median of what it was compared with there.
        share: Share of the training samples at least halfway from ``reference`` to ``typical``; None where
            images and labels do not tell.
    """

    feature: FeatureName
    typical: float
    reference: float
    share: float | None


class RetrainingAnswer(Record, frozen=True, kw_only=True):
    """The request of a device that a distillation answers.

    Attributes:
        request_sha256: Digest of the request.
        model: Name of the model that drifted.
        model_sha256: Its digest.
        bundle_version: The bundle that it came in.
        pictures: So many training images were looked at.
        coverage: Of each feature that drifted.
    """

    request_sha256: str
    model: str
    model_sha256: str
    bundle_version: int
    pictures: int
    coverage: tuple[DriftCoverage, ...]


class DistillationReport(Record, frozen=True, kw_only=True):
    """The record of a run.

    Attributes:
        schema: Always ``edgepose.distillation/1``.
        teacher: The teacher; None for labels alone.
        data: What was learned from.
        options: What decides the result.
        parameters: Weights of the student.
        steps_done: Steps done.
        ended_by: ``steps`` or ``time_limit`` (then the rate depended on the clock and is not repeatable).
        resumed_from: Step of the checkpoint that the last session went on from.
        seconds: Training time, all sessions together.
        loss: Mean loss of the last steps.
        precision: Keras dtype policy of the training.
        workers: Processes that trained together.
        versions: Package to version.
        model: The exported model.
        evaluation: The exported model on the validation images; None without.
        quantization_aware: The int8 model that was fine-tuned beside it; None without.
        retraining: The device's request that it answers; None without.
    """

    schema: Literal["edgepose.distillation/1"]
    teacher: DistillationTeacher | None
    data: DistillationData
    options: DistillationOptions
    parameters: int
    steps_done: int
    ended_by: Literal["steps", "time_limit"]
    resumed_from: int | None
    seconds: float
    loss: float
    precision: str
    workers: int = 1
    versions: dict[str, str]
    model: ModelInspection
    evaluation: EvaluationReport | None
    quantization_aware: QuantizationAwareTuning | None = None
    retraining: RetrainingAnswer | None = None


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
        digest: sha256 over images and boxes.
        images: Images.
        images_without_person: Of these, images in which no person was labelled or found.
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
        evaluation: The student on the validation images; None without them.
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
