"""Evaluates a person detector on labelled pictures, and on pictures without a person."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.host.data.coco import read_coco
from edgepose.host.evaluate.box_accuracy import box_figures, false_persons
from edgepose.host.evaluate.evaluation import EvaluationRequest, identify
from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD
from edgepose.inference.image_file import list_image_files
from edgepose.inference.model_file import load_spec
from edgepose.inference.open_model import RuntimeOptions, open_detector
from edgepose.spec.detector_evaluation_report import (
    DetectorEvaluationReport,
    DetectorFigures,
    EmptyPictures,
)


def is_detector(model: Path, spec_file: Path | None) -> bool:
    """Whether a model finds persons rather than keypoints.

    Raises:
        ModelError: The file is damaged, or its spec is.
        ConfigError: There is no spec, or it is wrong.
    """
    return load_spec(model, spec_file).paradigm == "detector"


def evaluate_detector(request: EvaluationRequest, empty: Path | None) -> DetectorEvaluationReport:
    """Measures a detector through the code that ships.

    Args:
        request: What to evaluate; a baseline, a detector and slices are a pose model's.
        empty: Folder of pictures in which nobody is, or None.

    Raises:
        ConfigError: The labels, the pictures or the spec are not usable, or an option is a pose model's.
        MissingDependencyError: The runtime is not installed.
        ModelError: The model is damaged, disagrees with its spec, or failed.
    """
    if request.baseline is not None or request.detector is not None or request.slices:
        raise ConfigError(
            f"{request.model.name} is a person detector; --baseline, --detector, --slices and --gate are for "
            "pose models.",
            "Leave them out, or evaluate a pose model behind it: edgepose evaluate POSE --detector "
            f"{request.model.name}",
        )
    dataset = read_coco(request.annotations, request.images)
    pictures = None if empty is None else list_image_files(empty)
    options = RuntimeOptions(threads=request.threads)
    weak = open_detector(request.model, request.spec_file, options, EVALUATION_SCORE_THRESHOLD)
    figures = DetectorFigures(**asdict(box_figures(weak, dataset)))
    found = None
    if pictures is not None:
        as_it_runs = open_detector(request.model, request.spec_file, options)
        found = EmptyPictures(
            images=len(pictures), false_persons_per_picture=false_persons(as_it_runs, pictures)
        )
    return DetectorEvaluationReport(
        schema="edgepose.detector_evaluation/1",
        model=identify(request.model, request.spec_file),
        digest=dataset.digest,
        images=len(dataset.images),
        figures=figures,
        empty=found,
    )
