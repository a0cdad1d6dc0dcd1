"""Figures off the score tables, with 95 % percentile intervals and paired differences.

Images are drawn with replacement, not persons, because persons of one image are not independent. Two models
are compared on the same draws, which makes the interval of their difference much tighter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.evaluate.average_precision import MatchTable, precision_figures
from edgepose.host.evaluate.scoring import Scores
from edgepose.records.evaluation_report import DeltaFigure, MetricFigure

RESAMPLES = 1000
# Any fixed number will do; a report must not change when nothing else does.
SEED = 20_170_901

Interval = tuple[float, float]


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """Draws ``images`` images with replacement, ``resamples`` times.

    Returns:
        (resamples, images), how often each image was drawn.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=resamples)


def interval_95(values: NDArray[np.float64]) -> Interval | None:
    """The 2.5th and 97.5th percentile; draws without any person (NaN) are left out.

    Returns:
        None where no draw had a value.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


PCK_NAME = "pck@0.2"
KEYPOINT_OKS_NAME = "oks"


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure with all its resamples.

    Attributes:
        values: (1 + R,): on the whole set first, then on each resample; NaN where not measurable.
        sample_count: Persons or keypoints behind it.
    """

    values: NDArray[np.float64]
    sample_count: int

    def metric(self) -> MetricFigure:
        """The figure as it is reported."""
        value, interval = _reported(self.values)
        return MetricFigure(value=value, interval_95=interval, sample_count=self.sample_count)

    def minus(self, baseline: Figure) -> DeltaFigure:
        """The paired difference: both must come from the same ``weights``."""
        value, interval = _reported(self.values - baseline.values)
        return DeltaFigure(value=value, interval_95=interval)


def evaluation_weights(images: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """(1 + resamples, images): every image once, then the draws."""
    once = np.ones((1, images), dtype=np.int64)
    return np.concatenate([once, resample_weights(images, resamples, seed)])


def overall_figures(scores: Scores, weights: NDArray[np.int64]) -> dict[str, Figure]:
    """AP, AP50, AP75, AR and PCK by their names in the report."""
    figures = _precision(scores.matches, weights, scores.persons)
    labelled = int(scores.keypoints.labelled.sum())
    return {**figures, PCK_NAME: Figure(scores.keypoints.pck(weights), labelled)}


def keypoint_figures(scores: Scores, weights: NDArray[np.int64]) -> dict[str, dict[str, Figure]]:
    """Keypoint name to its PCK and its mean OKS term."""
    pck = scores.keypoints.pck_per_keypoint(weights)
    similarity = scores.keypoints.similarity_per_keypoint(weights)
    labelled = scores.keypoints.labelled.sum(axis=0).astype(int)
    return {
        name: {
            PCK_NAME: Figure(pck[:, k], int(labelled[k])),
            KEYPOINT_OKS_NAME: Figure(similarity[:, k], int(labelled[k])),
        }
        for k, name in enumerate(scores.shared.names)
    }


def slice_figures(scores: Scores, weights: NDArray[np.int64]) -> dict[str, Figure]:
    """Slice name to its AP."""
    return {
        name: _precision(part.matches, weights, part.persons)["oks_ap"]
        for name, part in scores.slices.items()
    }


def _precision(table: MatchTable, weights: NDArray[np.int64], persons: int) -> dict[str, Figure]:
    figures = precision_figures(table, weights)
    names = ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar")
    return {name: Figure(getattr(figures, name), persons) for name in names}


def _reported(values: NDArray[np.float64]) -> tuple[float | None, tuple[float, float] | None]:
    value = float(values[0])
    return (None, None) if math.isnan(value) else (value, interval_95(values[1:]))
