"""What ``edgepose evaluate`` reports and the gate says (``edgepose.evaluation/1``), of detectors too."""

from __future__ import annotations

from typing import Literal

from edgepose.records.record import Record

Interval = tuple[float, float]


class MetricFigure(Record, frozen=True, kw_only=True):
    """A figure and how sure it is.

    Attributes:
        value: Fraction in [0, 1]; None where nothing could be measured.
        interval_95: Percentile bootstrap over images; None where ``value`` is.
        sample_count: Number of persons behind AP and AR, of labelled keypoints behind the others.
    """

    value: float | None
    interval_95: Interval | None
    sample_count: int


class DeltaFigure(Record, frozen=True, kw_only=True):
    """This model minus the baseline, on the same images and the same resamples.

    Attributes:
        value: A loss is negative.
        interval_95: Paired percentile bootstrap over images.
    """

    value: float | None
    interval_95: Interval | None


class EvaluatedModel(Record, frozen=True, kw_only=True):
    """A model file."""

    path: str
    sha256: str
    precision: str


class EvaluatedData(Record, frozen=True, kw_only=True):
    """The labelled images.

    Attributes:
        digest: sha256 over the sorted digests of the images and the annotations' digest.
        images: Number of images.
        persons: Number of persons that count: no group, at least one compared keypoint labelled.
        keypoints: The keypoints that model and data share, which are all that was compared.
        keypoints_of_data: Number of keypoints that the data labels.
        boxes_from: ``labels``, ``detector`` or ``whole_image``.
        labels_without_image: Labels whose image is missing.
        images_without_label: Images that the labels do not list.
    """

    digest: str
    images: int
    persons: int
    keypoints: tuple[str, ...]
    keypoints_of_data: int
    boxes_from: Literal["labels", "detector", "whole_image"]
    labels_without_image: int
    images_without_label: int


class SliceReport(Record, frozen=True, kw_only=True):
    """One slice of the persons.

    Attributes:
        persons: Number of persons in it.
        oks_ap: AP with everybody outside ignored.
        delta: The same against the baseline by metric name; None without a baseline.
        gated: Whether it has enough persons for the gate to judge it.
    """

    persons: int
    oks_ap: MetricFigure
    delta: dict[str, DeltaFigure] | None
    gated: bool


class BaselineReport(Record, frozen=True, kw_only=True):
    """The model compared with.

    Attributes:
        path: Its file.
        sha256: Its digest.
        precision: Its precision.
        metrics: Its own figures.
        delta: The differences by metric name.
    """

    path: str
    sha256: str
    precision: str
    metrics: dict[str, MetricFigure]
    delta: dict[str, DeltaFigure]


class BootstrapReport(Record, frozen=True, kw_only=True):
    """How the intervals were made: images drawn with replacement."""

    resamples: int
    seed: int


class GateFailure(Record, frozen=True, kw_only=True):
    """One budget that was not kept.

    Attributes:
        name: Short identifier, for example ``oks_ap_drop`` or ``slice_drop:size_large``.
        message: What was found, what is allowed, what to do.
        value: What was found; None where there is no number.
        limit: What is allowed; None where there is no number.
    """

    name: str
    message: str
    value: float | None
    limit: float | None


class GateResult(Record, frozen=True, kw_only=True):
    """The gate's judgement.

    Attributes:
        passed: Whether every budget that can be judged here is kept.
        failures: Those that are not.
        not_measured: What only the device can measure.
        accuracy: Whether accuracy was measured on labels, or only the agreement with the float parent.
        profile: Id of the device profile whose budgets were judged.
    """

    passed: bool
    failures: tuple[GateFailure, ...]
    not_measured: tuple[str, ...]
    accuracy: Literal["measured", "not measured"]
    profile: str


class EvaluationReport(Record, frozen=True, kw_only=True):
    """``edgepose evaluate --json``.

    Attributes:
        model: The model.
        dataset: The data.
        metrics: ``oks_ap``, ``oks_ap50``, ``oks_ap75``, ``oks_ar``, ``pck@0.2``.
        per_keypoint: Keypoint name to ``pck@0.2`` and ``oks``, the mean term of that keypoint in the OKS.
        slices: By name; empty where not asked for.
        baseline: The comparison, or None.
        gate: The judgement, or None where not asked for.
        detector: The detector that gave the boxes, or None.
        bootstrap: How the intervals were made.
        schema: Name and version of this record.
    """

    schema: Literal["edgepose.evaluation/1"] = "edgepose.evaluation/1"
    model: EvaluatedModel
    dataset: EvaluatedData
    metrics: dict[str, MetricFigure]
    per_keypoint: dict[str, dict[str, MetricFigure]]
    slices: dict[str, SliceReport]
    baseline: BaselineReport | None
    gate: GateResult | None
    detector: EvaluatedModel | None
    bootstrap: BootstrapReport


class DetectorFigures(Record, frozen=True, kw_only=True):
    """How good one detector is, on images that were not learned from.

    Attributes:
        box_ap: AP of person boxes over IoU .50:.05:.95; None where no person is labelled.
        box_ap50: AP at IoU .50.
        recall: Share of persons found with score 0.25 at IoU .50.
        persons: Persons that were to be found.
    """

    box_ap: float | None
    box_ap50: float | None
    recall: float | None
    persons: int


class EmptyPictures(Record, frozen=True, kw_only=True):
    """What a detector sees where no person is.

    Attributes:
        images: Images without a person.
        false_persons_per_picture: Boxes with score 0.25 or more an image.
    """

    images: int
    false_persons_per_picture: float


class DetectorEvaluationReport(Record, frozen=True, kw_only=True):
    """The whole record.

    Attributes:
        schema: ``edgepose.detector_evaluation/1``.
        model: The detector.
        digest: sha256 over images and labels.
        images: Labelled images.
        figures: How good it is on them.
        empty: What it sees where no person is; None where no such images were given.
    """

    schema: Literal["edgepose.detector_evaluation/1"]
    model: EvaluatedModel
    digest: str
    images: int
    figures: DetectorFigures
    empty: EmptyPictures | None
