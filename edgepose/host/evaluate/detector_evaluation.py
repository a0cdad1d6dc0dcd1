"""Evaluates a person detector's boxes by COCO's rules, and its false persons where there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, LabelledImage, read_coco
from edgepose.host.evaluate.average_precision import (
    ImageMatches,
    ImageTruth,
    collect_matches,
    match_image,
    precision_figures,
)
from edgepose.host.evaluate.evaluation import EvaluationRequest, identify
from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD
from edgepose.pose.boxes import iou_matrix
from edgepose.records.evaluation_report import DetectorEvaluationReport, DetectorFigures, EmptyPictures
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import RuntimeOptions, open_detector
from edgepose.runtime.pipeline import PersonDetector

# The threshold of `edgepose run`, and what counts as found there.
RUN_SCORE = 0.25
_FOUND_IOU = 0.5


def box_figures(detector: PersonDetector, dataset: CocoDataset) -> DetectorFigures:
    """Runs a detector over labelled images; groups are ignored regions.

    It is opened with a low score threshold: what it leaves out cannot count.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: The detector failed.
    """
    matches, found = [], []
    for image in dataset.images:
        boxes, scores = detector.detect(read_image_rgb(image.path))
        truth = _truth(image)
        matches.append(match_image(_similarity(boxes, truth), scores, truth))
        found.append(_found(boxes[scores >= RUN_SCORE], truth))
    return _figures(matches, np.concatenate([np.zeros(0, bool), *found]))


def false_persons(detector: PersonDetector, images: Sequence[Path]) -> float:
    """Boxes with score 0.25 or more an image, on images without a person.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: The detector failed.
    """
    counts = [int((detector.detect(read_image_rgb(path))[1] >= RUN_SCORE).sum()) for path in images]
    return float(np.mean(counts)) if counts else math.nan


def _figures(matches: Sequence[ImageMatches], found: NDArray[np.bool_]) -> DetectorFigures:
    once = np.ones((1, len(matches)), np.int64)
    figures = precision_figures(collect_matches(matches), once)
    values = [float(value[0]) for value in (figures.oks_ap, figures.oks_ap50)]
    box_ap, box_ap50 = (value if math.isfinite(value) else None for value in values)
    recall = float(found.mean()) if len(found) else None
    persons = sum(match.persons for match in matches)
    return DetectorFigures(box_ap=box_ap, box_ap50=box_ap50, recall=recall, persons=persons)


def _truth(image: LabelledImage) -> ImageTruth:
    count = len(image.persons)
    boxes = np.array([person.box_xyxy_px for person in image.persons], np.float64).reshape(-1, 4)
    return ImageTruth(
        keypoints_px=np.zeros((count, 1, 2)),
        # For boxes no one is left out for want of a keypoint.
        labelled=np.ones((count, 1), bool),
        boxes_xyxy_px=boxes,
        area_px2=np.array([person.area_px2 for person in image.persons], np.float64),
        is_crowd=np.array([person.is_crowd for person in image.persons], bool),
    )


def _similarity(boxes: NDArray[np.floating], truth: ImageTruth) -> NDArray[np.float64]:
    """(N, M): IoU; with a group the share of the detection that lies in it, as cocoeval.py has it."""
    overlap = iou_matrix(boxes, truth.boxes_xyxy_px)
    if not (truth.is_crowd.any() and len(boxes)):
        return overlap
    low = np.maximum(boxes[:, None, :2], truth.boxes_xyxy_px[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth.boxes_xyxy_px[None, :, 2:])
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    inside = np.clip(high - low, 0, None).prod(axis=2) / area[:, None]
    return np.where(truth.is_crowd[None], inside, overlap)


def _found(boxes: NDArray[np.floating], truth: ImageTruth) -> NDArray[np.bool_]:
    best = iou_matrix(truth.boxes_xyxy_px[~truth.is_crowd], boxes).max(axis=1, initial=0)
    return np.asarray(best >= _FOUND_IOU)


def is_detector(model: Path, spec_file: Path | None) -> bool:
    """Whether a model finds persons rather than keypoints.

    Raises:
        ModelError: The file is damaged, or its spec is.
        ConfigError: There is no spec, or it is wrong.
    """
    return load_spec(model, spec_file).paradigm == "detector"


def evaluate_detector(request: EvaluationRequest, empty: Path | None) -> DetectorEvaluationReport:
    """Measures a detector through the code that ships.

    Baseline, detector and slices of a request are a pose model's. ``empty`` holds images in which no one is.

    Raises:
        ConfigError: The labels, the images or the spec are not usable, or an option is a pose model's.
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
    images = None if empty is None else list_image_files(empty)
    options = RuntimeOptions(threads=request.threads)
    weak = open_detector(request.model, request.spec_file, options, EVALUATION_SCORE_THRESHOLD)
    found = None
    if images is not None:
        as_it_runs = open_detector(request.model, request.spec_file, options)
        found = EmptyPictures(images=len(images), false_persons_per_picture=false_persons(as_it_runs, images))
    return DetectorEvaluationReport(
        schema="edgepose.detector_evaluation/1",
        model=identify(request.model, request.spec_file),
        digest=dataset.digest,
        images=len(dataset.images),
        figures=box_figures(weak, dataset),
        empty=found,
    )
