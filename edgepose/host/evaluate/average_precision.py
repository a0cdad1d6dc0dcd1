"""Average precision and recall for persons, by COCO's rules, for one set of images or a thousand resamples.

Matching follows cocoeval.py (``computeOks``, ``evaluateImg``): at each OKS threshold the detections choose,
best score first, the free person with the highest OKS. Groups that no one took apart and persons without a
labelled keypoint are *ignored*: who matches one of them is neither right nor wrong. A person may be taken
once, a group as often as needed.

AP is the mean of the interpolated precision at 101 recall levels (``accumulate``). A resample draws images
with replacement, which only changes how often each counts; so the order of the detections is sorted once and
a resample is a vector of weights. Drawing an image twice adds points to the curve but none above its
envelope: the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.similarity import oks_matrix

# cocoeval.py, Params.setKpParams.
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 20
# cocoeval.py: a threshold of 1 must stay reachable.
_HIGHEST_THRESHOLD = 1 - 1e-10

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageTruth:
    """Everybody labelled in one image, column-wise, on the keypoints that are compared.

    Attributes:
        keypoints_px: float64 (M, K, 2).
        labelled: (M, K), visibility above 0.
        boxes_xyxy_px: float64 (M, 4).
        area_px2: float64 (M,).
        is_crowd: (M,).
    """

    keypoints_px: NDArray[np.float64]
    labelled: Mask
    boxes_xyxy_px: NDArray[np.float64]
    area_px2: NDArray[np.float64]
    is_crowd: Mask

    @property
    def ignored(self) -> Mask:
        """(M,): groups, and persons without a labelled keypoint."""
        return np.asarray(self.is_crowd | ~self.labelled.any(axis=1))


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """What became of the detections of one image, best score first, at T thresholds.

    Attributes:
        scores: (D,).
        matched: (T, D), whether the detection took a person or a group.
        ignored: (T, D), whether it counts neither as right nor as wrong.
        persons: Number of persons that were to be found.
    """

    scores: NDArray[np.float64]
    matched: Mask
    ignored: Mask
    persons: int


def image_oks(
    detected_px: NDArray[np.floating], truth: ImageTruth, sigmas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """OKS of every detection with everybody labelled.

    A person without a labelled keypoint gets the similarity of cocoeval.py for ignored regions: the
    distance of each keypoint to the person's box doubled to every side, 0 inside.

    Args:
        detected_px: (N, K, 2).
        truth: M persons.
        sigmas: (K,).
    """
    similarity = oks_matrix(detected_px, truth.keypoints_px, truth.labelled, truth.area_px2, sigmas)
    nameless = ~truth.labelled.any(axis=1)
    if not nameless.any() or not len(detected_px):
        return similarity
    boxes = truth.boxes_xyxy_px[nameless]
    size = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, :2] - size, boxes[:, :2] + 2 * size
    points = detected_px[:, None].astype(np.float64)
    outside = np.maximum(0, low[None, :, None] - points) + np.maximum(0, points - high[None, :, None])
    area = truth.area_px2[nameless][None, :, None] + np.spacing(1)
    exponent = np.square(outside).sum(axis=-1) / np.square(2 * sigmas) / area / 2
    similarity[:, nameless] = np.exp(-exponent).mean(axis=-1)
    return similarity


def match_image(
    oks: NDArray[np.float64],
    scores: NDArray[np.floating],
    truth: ImageTruth,
    truth_outside: Mask | None = None,
    detection_outside: Mask | None = None,
) -> ImageMatches:
    """Matches the detections of one image.

    Args:
        oks: (N, M) from ``image_oks``.
        scores: (N,).
        truth: The M persons.
        truth_outside: (M,) persons outside the slice under evaluation; they are ignored.
        detection_outside: (N,) detections outside it; they are ignored where they match no one.

    Returns:
        The best ``MAX_DETECTIONS`` detections.
    """
    ignored = truth.ignored if truth_outside is None else truth.ignored | truth_outside
    order = np.argsort(-scores.astype(np.float64), kind="stable")[:MAX_DETECTIONS]
    regular, aside = np.flatnonzero(~ignored), np.flatnonzero(ignored)
    thresholds = np.minimum(OKS_THRESHOLDS, _HIGHEST_THRESHOLD)[:, None]
    free = np.ones((len(OKS_THRESHOLDS), len(ignored)), dtype=bool)
    matched = np.zeros((len(OKS_THRESHOLDS), len(order)), dtype=bool)
    set_aside = np.zeros_like(matched)
    every_threshold = np.arange(len(OKS_THRESHOLDS))
    for position, detection in enumerate(order):
        row = oks[detection]
        first = _best(row, regular, thresholds, free)
        second = _best(row, aside, thresholds, free | truth.is_crowd)
        chosen = np.where(first >= 0, first, second)
        found = chosen >= 0
        free[every_threshold[found], chosen[found]] = False
        matched[:, position] = found
        set_aside[:, position] = found & (first < 0)
    if detection_outside is not None:
        set_aside |= ~matched & detection_outside[order]
    return ImageMatches(scores[order].astype(np.float64), matched, set_aside, len(regular))


def _best(
    similarity: NDArray[np.float64], columns: NDArray[np.intp], thresholds: NDArray[np.float64], free: Mask
) -> NDArray[np.intp]:
    """The free person among ``columns`` with the highest OKS per threshold, or -1; (T,).

    Of equals the last one is taken, as cocoeval.py does.
    """
    if not len(columns) or similarity[columns].max() < thresholds[0, 0]:
        return np.full(len(thresholds), -1, dtype=np.intp)
    values = similarity[columns]
    allowed = free[:, columns] & (values >= thresholds)
    ranked = np.where(allowed, values, -1.0)[:, ::-1]
    best = columns[len(columns) - 1 - ranked.argmax(axis=1)]
    return np.where(allowed.any(axis=1), best, -1)


def assign_persons(oks: NDArray[np.float64], truth: ImageTruth) -> NDArray[np.intp]:
    """Gives each labelled person the detection that resembles it most, each detection once.

    Returns:
        (M,) index of the detection; -1 for a person that no one resembles at all, and for the ignored.
    """
    assigned = np.full(oks.shape[1], -1, dtype=np.intp)
    remaining = np.where(truth.ignored[None], 0.0, oks)
    while remaining.size and remaining.max() > 0:
        detection, person = np.unravel_index(remaining.argmax(), remaining.shape)
        assigned[person] = detection
        remaining[detection], remaining[:, person] = 0.0, 0.0
    return assigned


# cocoeval.py, Params.recThrs.
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)
_AT_50 = 0
_AT_75 = 5
# Bounds the memory of one step: resamples times detections.
_CELLS_PER_STEP = 4_000_000

Weights = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MatchTable:
    """The detections of all images, best score first; those that count nowhere are left out.

    Attributes:
        image_index: (D,), the image of each detection.
        right: (T, D), took a person.
        wrong: (T, D), took no one.
        persons_per_image: (I,), persons to be found.
    """

    image_index: NDArray[np.intp]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    persons_per_image: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PrecisionFigures:
    """AP and AR of R resamples; NaN where a resample holds no person.

    Attributes:
        oks_ap: (R,), mean over OKS .50:.05:.95.
        oks_ap50: (R,).
        oks_ap75: (R,).
        oks_ar: (R,), mean recall over the same thresholds.
    """

    oks_ap: Figures
    oks_ap50: Figures
    oks_ap75: Figures
    oks_ar: Figures


def collect_matches(matches: Sequence[ImageMatches]) -> MatchTable:
    """Joins the images; detections of equal score keep the order of the images."""
    none = np.zeros((len(OKS_THRESHOLDS), 0), dtype=bool)
    scores = np.concatenate([np.zeros(0), *(m.scores for m in matches)])
    order = np.argsort(-scores, kind="stable")
    index = np.repeat(np.arange(len(matches)), [len(m.scores) for m in matches])
    matched = np.concatenate([none, *(m.matched for m in matches)], axis=1)
    ignored = np.concatenate([none, *(m.ignored for m in matches)], axis=1)
    order = order[~ignored[:, order].all(axis=0)]
    return MatchTable(
        image_index=index[order],
        right=(matched & ~ignored)[:, order],
        wrong=(~matched & ~ignored)[:, order],
        persons_per_image=np.array([m.persons for m in matches], dtype=np.int64),
    )


def precision_figures(table: MatchTable, weights: Weights) -> PrecisionFigures:
    """Computes AP and AR.

    Args:
        table: From ``collect_matches``.
        weights: (R, I), how often each image counts; a row of ones for the set itself.
    """
    rows = max(1, _CELLS_PER_STEP // max(1, len(table.image_index)))
    steps = [weights[start : start + rows] for start in range(0, len(weights), rows)]
    precision, recall = (
        np.concatenate(parts, axis=1) for parts in zip(*(_step(table, step) for step in steps), strict=True)
    )
    return PrecisionFigures(
        oks_ap=precision.mean(axis=0),
        oks_ap50=precision[_AT_50],
        oks_ap75=precision[_AT_75],
        oks_ar=recall.mean(axis=0),
    )


def _step(table: MatchTable, weights: Weights) -> tuple[Figures, Figures]:
    """AP and final recall per threshold, each (T, R)."""
    repeats = weights[:, table.image_index].astype(np.float64)
    persons = (weights @ table.persons_per_image).astype(np.float64)
    persons[persons == 0] = np.nan
    found = [
        _at_threshold(repeats, right, wrong, persons)
        for right, wrong in zip(table.right, table.wrong, strict=True)
    ]
    return np.array([precision for precision, _ in found]), np.array([recall for _, recall in found])


def _at_threshold(
    repeats: Figures, right: NDArray[np.bool_], wrong: NDArray[np.bool_], persons: Figures
) -> tuple[Figures, Figures]:
    """AP and recall at one threshold, each (R,)."""
    hits = np.flatnonzero(right)
    if not len(hits):
        nothing = np.where(np.isnan(persons), np.nan, 0.0)
        return nothing, nothing
    # Only the points where a person is found carry the envelope, so what follows the last is not needed.
    last = hits[-1] + 1
    false = np.cumsum(repeats[:, :last] * wrong[:last], axis=1)[:, hits]
    true = np.cumsum(repeats[:, hits], axis=1)
    precision = true / (false + true + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    recall = true / persons[:, None]
    levels = np.array([np.searchsorted(row, RECALL_LEVELS, side="left") for row in recall])
    average = np.take_along_axis(envelope, levels, axis=1).mean(axis=1)
    average[np.isnan(persons)] = np.nan
    return average, recall[:, -1]
