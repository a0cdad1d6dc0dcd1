"""Evaluates a model, alone or against a baseline, on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.evaluate.figures import (
    RESAMPLES,
    SEED,
    Figure,
    evaluation_weights,
    keypoint_figures,
    overall_figures,
    slice_figures,
)
from edgepose.host.evaluate.gate import Evidence, judge
from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD, Predictions, Progress, predict
from edgepose.host.evaluate.scoring import Membership, Scores, score
from edgepose.host.evaluate.slices import MIN_GATED_PERSONS, slice_membership
from edgepose.host.models.inspect import inspect_model
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.evaluation_report import (
    BaselineReport,
    BootstrapReport,
    EvaluatedData,
    EvaluatedModel,
    EvaluationReport,
    MetricFigure,
    SliceReport,
)
from edgepose.records.lineage import LINEAGE_METADATA_KEY, lineage_from_json
from edgepose.runtime.model_file import read_metadata
from edgepose.runtime.open_model import RuntimeOptions, open_detector, open_pipeline
from edgepose.runtime.pipeline import PersonDetector, PosePipeline


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate.

    Attributes:
        spec_file: Serves model and baseline where they carry no spec.
        baseline: The model to compare with, usually the float parent.
        detector: Gives person boxes instead of the labels.
        threads: CPU threads for the runtime.
        progress: Called with (images done, images in all).
    """

    model: Path
    annotations: Path
    images: Path
    spec_file: Path | None = None
    baseline: Path | None = None
    detector: Path | None = None
    detector_spec: Path | None = None
    slices: bool = False
    threads: int = 1
    resamples: int = RESAMPLES
    seed: int = SEED
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class _Measured:
    """One model's figures on the common resamples."""

    model: EvaluatedModel
    predictions: Predictions
    scores: Scores
    overall: dict[str, Figure]
    slices: dict[str, Figure]


def evaluate_model(request: EvaluationRequest) -> EvaluationReport:
    """Measures a model through the pipeline that ships.

    Returns:
        The report, without a judgement.

    Raises:
        ConfigError: The labels, the images or a spec are not usable, or model and data, or model and
            baseline, share no keypoints to compare.
        MissingDependencyError: The runtime of a model is not installed.
        ModelError: A model is damaged, disagrees with its spec, or gives values that are not finite.
    """
    # Everything is opened first, so that a wrong file is told before the work, not after.
    dataset = read_coco(request.annotations, request.images)
    files = [request.model] if request.baseline is None else [request.model, request.baseline]
    candidates = [_open(path, request) for path in files]
    detector = _open_detector(request)
    identity = None if request.detector is None else identify(request.detector, request.detector_spec)
    membership = slice_membership(dataset) if request.slices else {}
    weights = evaluation_weights(len(dataset.images), request.resamples, request.seed)
    measured = []
    for turn, (model, pipeline) in enumerate(candidates):
        progress = _shared_progress(request.progress, turn, len(candidates))
        predictions = predict(pipeline, dataset, detector, progress)
        measured.append(_measure(model, predictions, dataset, membership, weights))
    baseline = measured[1] if len(measured) > 1 else None
    return _report(measured[0], baseline, dataset, weights, identity, request)


def judge_evaluation(
    request: EvaluationRequest, report: EvaluationReport, profile: DeviceProfile
) -> EvaluationReport:
    """Adds the gate's judgement to a report on labelled images.

    Raises:
        EdgeposeError: As ``inspect_model`` raises.
    """
    inspection = inspect_model(request.model, request.spec_file)
    evidence = Evidence(
        evaluation=report,
        float_ops=inspection.float_op_names,
        # None means that it cannot be told, which is no proof.
        integer_only=inspection.integer_only is True,
        is_float_parent=_is_float_parent(request.model, inspection.precision),
    )
    return msgspec.structs.replace(report, gate=judge(profile, evidence))


def _is_float_parent(model: Path, precision: str) -> bool:
    """Whether a model is float and was not made from another one."""
    lineage = read_metadata(model).get(LINEAGE_METADATA_KEY)
    made_from = () if lineage is None else lineage_from_json(lineage, model.name).parents
    return precision == "float32" and not made_from


def _open(path: Path, request: EvaluationRequest) -> tuple[EvaluatedModel, PosePipeline]:
    options = RuntimeOptions(threads=request.threads)
    pipeline = open_pipeline(path, request.spec_file, options, EVALUATION_SCORE_THRESHOLD)
    return identify(path, request.spec_file), pipeline


def _open_detector(request: EvaluationRequest) -> PersonDetector | None:
    if request.detector is None:
        return None
    options = RuntimeOptions(threads=request.threads)
    return open_detector(request.detector, request.detector_spec, options, EVALUATION_SCORE_THRESHOLD)


def _measure(
    model: EvaluatedModel,
    predictions: Predictions,
    dataset: CocoDataset,
    membership: Membership,
    weights: NDArray[np.int64],
) -> _Measured:
    scores = score(predictions, dataset, membership)
    return _Measured(
        model=model,
        predictions=predictions,
        scores=scores,
        overall=overall_figures(scores, weights),
        slices=slice_figures(scores, weights),
    )


def _shared_progress(progress: Progress | None, index: int, models: int) -> Progress | None:
    """Turns the progress of one of several models into that of the whole call."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, models * total)


def identify(path: Path, spec_file: Path | None) -> EvaluatedModel:
    """A model as reports name it.

    Raises:
        EdgeposeError: As ``inspect_model`` raises.
    """
    inspection = inspect_model(path, spec_file)
    return EvaluatedModel(path=str(path), sha256=inspection.sha256, precision=inspection.precision)


def _report(
    model: _Measured,
    baseline: _Measured | None,
    dataset: CocoDataset,
    weights: NDArray[np.int64],
    detector: EvaluatedModel | None,
    request: EvaluationRequest,
) -> EvaluationReport:
    per_keypoint = keypoint_figures(model.scores, weights)
    return EvaluationReport(
        model=model.model,
        dataset=_describe_data(model, dataset),
        metrics=_metrics(model.overall),
        per_keypoint={name: _metrics(figures) for name, figures in per_keypoint.items()},
        slices={name: _slice(name, model, baseline) for name in model.slices},
        baseline=None if baseline is None else _compare(model, baseline),
        gate=None,
        detector=detector,
        bootstrap=BootstrapReport(resamples=request.resamples, seed=request.seed),
    )


def _metrics(figures: dict[str, Figure]) -> dict[str, MetricFigure]:
    return {name: figure.metric() for name, figure in figures.items()}


def _describe_data(model: _Measured, dataset: CocoDataset) -> EvaluatedData:
    return EvaluatedData(
        digest=dataset.digest,
        images=model.scores.images,
        persons=model.scores.persons,
        keypoints=model.scores.shared.names,
        keypoints_of_data=len(dataset.keypoint_names),
        boxes_from=model.predictions.boxes_from,
        labels_without_image=dataset.labels_without_image,
        images_without_label=dataset.images_without_label,
    )


def _compare(model: _Measured, baseline: _Measured) -> BaselineReport:
    names = (model.scores.shared.names, baseline.scores.shared.names)
    if names[0] != names[1]:
        raise ConfigError(
            f"The model is compared on {', '.join(names[0])}, the baseline on {', '.join(names[1])}.",
            "A baseline needs the same keypoints.",
        )
    return BaselineReport(
        path=baseline.model.path,
        sha256=baseline.model.sha256,
        precision=baseline.model.precision,
        metrics=_metrics(baseline.overall),
        delta={name: figure.minus(baseline.overall[name]) for name, figure in model.overall.items()},
    )


def _slice(name: str, model: _Measured, baseline: _Measured | None) -> SliceReport:
    figure = model.slices[name]
    return SliceReport(
        persons=figure.sample_count,
        oks_ap=figure.metric(),
        delta=None if baseline is None else {"oks_ap": figure.minus(baseline.slices[name])},
        gated=figure.sample_count >= MIN_GATED_PERSONS,
    )
