"""How good a person detector's boxes are: COCO's average precision, recall, false persons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.evaluate.average_precision import collect_matches, precision_figures
from edgepose.host.evaluate.matching import ImageMatches, ImageTruth, match_image
from edgepose.inference.detector import PersonDetector
from edgepose.inference.image_file import read_image_rgb
from edgepose.pose.boxes import iou_matrix

# The threshold of `edgepose run`, and what counts as found there.
RUN_SCORE = 0.25
_FOUND_IOU = 0.5


@dataclass(frozen=True)
class BoxFigures:
    """Figures of one detector on labelled pictures.

    Attributes:
        box_ap: Mean over IoU .50:.05:.95, as cocoeval.py counts boxes; None where nobody is labelled.
        box_ap50: At IoU .50.
        recall: Share of persons found with score 0.25 at IoU .50.
        persons: Persons that were to be found.
    """

    box_ap: float | None
    box_ap50: float | None
    recall: float | None
    persons: int


def box_figures(detector: PersonDetector, dataset: CocoDataset) -> BoxFigures:
    """Runs a detector over labelled pictures.

    Args:
        detector: Opened with a low score threshold; what it leaves out cannot count.
        dataset: Labels; groups are ignored regions.

    Raises:
        ConfigError: A picture cannot be read.
        ModelError: The detector failed.
    """
    matches, found = [], []
    for image in dataset.images:
        boxes, scores = detector.detect(read_image_rgb(image.path))
        truth = _truth(image)
        matches.append(match_image(_similarity(boxes, truth), scores, truth))
        found.append(_found(boxes[scores >= RUN_SCORE], truth))
    return _figures(matches, np.concatenate([np.zeros(0, bool), *found]))


def false_persons(detector: PersonDetector, pictures: Sequence[Path]) -> float:
    """Boxes with score 0.25 or more a picture, on pictures without a person.

    Raises:
        ConfigError: A picture cannot be read.
        ModelError: The detector failed.
    """
    counts = [int((detector.detect(read_image_rgb(path))[1] >= RUN_SCORE).sum()) for path in pictures]
    return float(np.mean(counts)) if counts else math.nan


def _figures(matches: Sequence[ImageMatches], found: NDArray[np.bool_]) -> BoxFigures:
    once = np.ones((1, len(matches)), np.int64)
    figures = precision_figures(collect_matches(matches), once)
    values = [float(value[0]) for value in (figures.oks_ap, figures.oks_ap50)]
    box_ap, box_ap50 = (value if math.isfinite(value) else None for value in values)
    recall = float(found.mean()) if len(found) else None
    return BoxFigures(box_ap, box_ap50, recall, sum(match.persons for match in matches))


def _truth(image: LabelledImage) -> ImageTruth:
    count = len(image.persons)
    boxes = np.array([person.box_xyxy_px for person in image.persons], np.float64).reshape(-1, 4)
    return ImageTruth(
        keypoints_px=np.zeros((count, 1, 2)),
        # For boxes nobody is left out for want of a keypoint.
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
