"""Average precision and recall from matches, for one set of pictures or a thousand resamples at once.

AP is the mean of the interpolated precision at 101 recall levels (cocoeval.py, ``accumulate``). A resample
draws pictures with replacement, which only changes how often each picture counts; so the order of the
detections is sorted once and a resample is a vector of weights. Drawing a picture twice repeats its
detections, which adds points to the curve but none above its envelope: the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.evaluate.matching import OKS_THRESHOLDS, ImageMatches

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
    """The detections of all pictures, best score first; those that count nowhere are left out.

    Attributes:
        image_index: (D,), the picture of each detection.
        right: (T, D), took a person.
        wrong: (T, D), took nobody.
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
    """Joins the pictures; detections of equal score keep the order of the pictures."""
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
        weights: (R, I), how often each picture counts; a row of ones for the set itself.
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
