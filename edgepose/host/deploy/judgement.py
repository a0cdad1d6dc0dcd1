"""Measures the model that will ship against its float parent, and asks the gate.

Of a detector and its parent: do both find the same persons? Where they do not, labels can still say that what
ships is as good: rounding moves a weak detector's boxes more than it harms them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError, GateFailedError
from edgepose.host.data.calibration_set import calibration_crops
from edgepose.host.data.coco import CocoDataset
from edgepose.host.deploy.plan import DeployPlan, DeployRequest
from edgepose.host.evaluate.agreement import AgreementReport, mean_agreement_oks, read_crops
from edgepose.host.evaluate.gate import Evidence, judge
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.inspect import inspect_model
from edgepose.host.quantize.tensor_errors import worst_tensors_text
from edgepose.pose.boxes import iou_matrix
from edgepose.records.bundle_manifest import EvaluationSummary
from edgepose.records.evaluation_report import EvaluationReport, GateResult
from edgepose.records.quantization import TensorError
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.open_model import open_detector
from edgepose.runtime.pipeline import PersonDetector

Note = Callable[[str], None]


def measure_and_judge(
    request: DeployRequest, parent: ModelArtifact, shipped: ModelArtifact, note: Note
) -> tuple[GateResult, EvaluationSummary]:
    """Judges the shipped model: by labels where there are any, else by agreement.

    The parent is the float model that the user gave, or its first runnable form; ``note`` takes the figure.

    Returns:
        The gate's result, and what it judged on.

    Raises:
        EdgeposeError: A model or the data cannot be used.
    """
    inspection = inspect_model(shipped)
    evaluation = agreement = None
    if request.has_labels:
        evaluation = _evaluate(request, parent, shipped)
        note(_accuracy_text(evaluation))
        summary = _labels_summary(evaluation, parent)
    else:
        agreement = _agree(request, parent, shipped)
        oks, poses = _number(agreement.mean_oks), agreement.poses
        note(
            f"OKS with the float parent {oks} over {poses} held-out poses; accuracy not measured (no labels)"
        )
        summary = EvaluationSummary(
            method="agreement",
            parent_sha256=parent.sha256,
            dataset_digest=None,
            samples=agreement.poses,
            value=agreement.mean_oks,
        )
    evidence = Evidence(
        evaluation=evaluation,
        agreement=agreement,
        float_ops=inspection.float_op_names,
        integer_only=inspection.integer_only is True,
        is_float_parent=shipped.sha256 == parent.sha256,
    )
    return judge(request.profile, evidence), summary


def _labels_summary(report: EvaluationReport, parent: ModelArtifact) -> EvaluationSummary:
    delta = report.baseline.delta.get("oks_ap") if report.baseline else None
    return EvaluationSummary(
        method="labels",
        parent_sha256=parent.sha256,
        dataset_digest=report.dataset.digest,
        samples=report.dataset.persons,
        value=report.metrics["oks_ap"].value,
        delta=delta.value if delta else None,
    )


def require_separate_pictures(request: DeployRequest, plan: DeployPlan) -> None:
    """Stops a deployment that would measure accuracy on the images that set the ranges.

    Raises:
        ConfigError: ``--calibration`` and ``--images`` share an image, or a folder cannot be used.
    """
    sets_ranges = plan.quantize and plan.recipe.kind == "static"
    if sets_ranges and request.has_labels and request.calibration is not None and request.images is not None:
        from edgepose.host.data.audit.fitness import refuse_leak

        refuse_leak(request.calibration, request.images)


def require_pass(gate: GateResult, worst: tuple[TensorError, ...]) -> None:
    """Stops a deployment whose gate failed, and names the tensors that lost most.

    Raises:
        GateFailedError: The gate failed.
    """
    if gate.passed:
        return
    slices = [failure for failure in gate.failures if failure.name.startswith("slice_")]
    reasons = [failure.message for failure in gate.failures if failure not in slices]
    if slices:
        listed = ", ".join(f"{s.name.split(':', 1)[1].split('_interval')[0]} {s.value:+.3f}" for s in slices)
        reasons.append(f"Slices over their budget: {listed}.")
    if text := worst_tensors_text(worst):
        reasons.append(text)
    raise GateFailedError(
        "\n  ".join([f"The gate of profile '{gate.profile}' failed; the device was not touched.", *reasons]),
        "Try another --recipe, --precision float16, or more calibration pictures.",
    )


def _evaluate(request: DeployRequest, parent: ModelArtifact, shipped: ModelArtifact) -> EvaluationReport:
    from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model

    if request.annotations is None or request.images is None:
        raise ConfigError("Labels need both --annotations and --images.")
    return evaluate_model(
        EvaluationRequest(
            model=shipped.path,
            annotations=request.annotations,
            images=request.images,
            spec_file=request.spec_file,
            baseline=parent.path,
            slices=True,
            threads=request.profile.runtime.threads,
        )
    )


def _agree(request: DeployRequest, parent: ModelArtifact, shipped: ModelArtifact) -> AgreementReport:
    if request.data is None:
        raise GateFailedError("There is no data to judge on.", "Give --calibration DIR.")
    detector = open_detector(request.detector, request.detector_spec) if request.detector else None
    crops = calibration_crops(
        request.data, 1, request.seed, detector, whole_images=not shipped.spec.uses_person_boxes
    )
    return mean_agreement_oks(parent.pipeline(), shipped.pipeline(), read_crops(crops.held_out))


def pictures_of(request: DeployRequest) -> list[Path]:
    """The images that a detector is compared on.

    Raises:
        ConfigError: The folder cannot be used.
    """
    from edgepose.runtime.image_file import list_image_files

    if request.data is not None:
        return [image.path for image in request.data.images]
    return list_image_files(request.images) if request.images is not None else []


def _accuracy_text(report: EvaluationReport) -> str:
    ap = report.metrics["oks_ap"]
    text = f"AP {_number(ap.value)} on {report.dataset.persons} persons"
    delta = report.baseline.delta["oks_ap"] if report.baseline else None
    if delta is not None and delta.value is not None and delta.interval_95 is not None:
        low, high = delta.interval_95
        text += f", {delta.value:+.4f} [{low:+.4f}, {high:+.4f}] against the float parent"
    return text


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


# Two boxes are the same person when they overlap this much; COCO's first threshold is 0.5.
SAME_PERSON_IOU = 0.7
MIN_AGREEMENT = 0.95


@dataclass(frozen=True)
class DetectorAgreement:
    """The comparison.

    Attributes:
        share: Persons that both find, twice, over all persons that either finds (the F1 score).
    """

    share: float | None
    parent_boxes: int
    shipped_boxes: int
    pictures: int

    @property
    def reached(self) -> bool:
        """Whether both find the same persons."""
        return self.share is not None and self.share >= MIN_AGREEMENT


def detector_agreement(
    parent: PersonDetector, shipped: PersonDetector, images: Iterable[Path]
) -> DetectorAgreement:
    """Runs both detectors on the same images, at the thresholds of their specs.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: A detector failed.
    """
    both = expected = found = count = 0
    for path in images:
        image = read_image_rgb(path)
        first, _ = parent.detect(image)
        second, _ = shipped.detect(image)
        overlap = iou_matrix(first, second)
        count, expected, found = count + 1, expected + len(first), found + len(second)
        both += int((overlap.max(axis=1, initial=0) >= SAME_PERSON_IOU).sum())
    share = 2 * both / (expected + found) if expected else None
    return DetectorAgreement(share, expected, found, count)


def require_agreement(agreement: DetectorAgreement, name: str) -> None:
    """Lets a detector pass that finds what its parent finds.

    Raises:
        GateFailedError: It does not, or there is no one to compare on.
    """
    if agreement.share is None:
        raise GateFailedError(
            f"The float detector finds nobody in {agreement.pictures} pictures, so {name} cannot be judged.",
            "Give pictures with persons in --calibration or --images.",
        )
    if not agreement.reached:
        raise GateFailedError(
            f"{name} finds other persons than its float parent: agreement {agreement.share:.3f} over "
            f"{agreement.parent_boxes} and {agreement.shipped_boxes} boxes; {MIN_AGREEMENT} is needed.",
            "Ship the detector in a higher precision.",
        )


@dataclass(frozen=True)
class BoxLoss:
    """Box AP of both on labelled images."""

    parent_ap: float
    shipped_ap: float
    allowed: float
    persons: int

    @property
    def passed(self) -> bool:
        """Whether no more is lost than is allowed."""
        return self.shipped_ap >= self.parent_ap - self.allowed


def box_loss(parent: PersonDetector, shipped: PersonDetector, labels: CocoDataset, allowed: float) -> BoxLoss:
    """Box AP of both detectors, opened with a low score threshold, on the same images; it is a fraction.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: A detector failed.
    """
    from edgepose.host.evaluate.detector_evaluation import box_figures

    first, second = box_figures(parent, labels), box_figures(shipped, labels)
    return BoxLoss(first.box_ap or 0.0, second.box_ap or 0.0, allowed, first.persons)


def require_accuracy(loss: BoxLoss, agreement: DetectorAgreement, name: str) -> None:
    """Lets a detector pass that labels find as good as its parent, although it finds other persons.

    Raises:
        GateFailedError: It is worse.
    """
    if loss.passed:
        return
    raise GateFailedError(
        f"{name} finds other persons than its float parent (agreement {agreement.share or 0:.3f}, "
        f"{MIN_AGREEMENT} is needed) and is worse by the labels: box AP {loss.shipped_ap:.4f} against "
        f"{loss.parent_ap:.4f} on {loss.persons} persons; {loss.allowed} may be lost.",
        "Ship the detector in a higher precision.",
    )
