"""Percentage of correct keypoints, and the OKS of single keypoints.

PCK@0.2 counts a labelled keypoint as correct when its prediction is at most 0.2 reference lengths away. The
reference is the torso, left shoulder to right hip (Sapp & Taskar 2013, "MODEC"), where the skeleton has both
and both are labelled, and the longer side of the person's box elsewhere. A person whom no detection resembles
is a miss at every labelled keypoint; ignored persons do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.evaluate.matching import ImageTruth

PCK_FRACTION = 0.2
_TORSO = ("left_shoulder", "right_hip")

Sums = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KeypointTable:
    """Sums per picture, so that a resample is a weighted sum.

    Attributes:
        labelled: (I, K), number of labelled keypoints.
        correct: (I, K), how many of them are correct.
        similarity: (I, K), the sum of their terms ``exp(-d^2 / (2 s^2 k^2))`` of the OKS.
    """

    labelled: Sums
    correct: Sums
    similarity: Sums

    def pck(self, weights: NDArray[np.int64]) -> Sums:
        """PCK over all keypoints for each of R resamples: (R,), NaN where nothing is labelled."""
        return _ratio(weights @ self.correct.sum(axis=1), weights @ self.labelled.sum(axis=1))

    def pck_per_keypoint(self, weights: NDArray[np.int64]) -> Sums:
        """(R, K)."""
        return _ratio(weights @ self.correct, weights @ self.labelled)

    def similarity_per_keypoint(self, weights: NDArray[np.int64]) -> Sums:
        """Mean OKS term: (R, K)."""
        return _ratio(weights @ self.similarity, weights @ self.labelled)


def keypoint_sums(
    keypoints_px: NDArray[np.floating],
    assigned: NDArray[np.intp],
    truth: ImageTruth,
    keypoint_names: Sequence[str],
    sigmas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Counts one picture.

    Args:
        keypoints_px: (N, K, 2), the detections.
        assigned: (M,), which detection belongs to which person, -1 for none.
        truth: The M persons.
        keypoint_names: K names.
        sigmas: (K,).

    Returns:
        (3, K): labelled, correct and similarity as ``KeypointTable`` sums them.
    """
    counted = truth.labelled & ~truth.ignored[:, None]
    distance = np.full(counted.shape, np.inf)
    found = assigned >= 0
    delta = keypoints_px[assigned[found]].astype(np.float64) - truth.keypoints_px[found]
    distance[found] = np.linalg.norm(delta, axis=-1)
    limit = PCK_FRACTION * _reference_lengths(truth, keypoint_names)
    spread = 2 * np.square(2 * sigmas) * (truth.area_px2[:, None] + np.spacing(1))
    similarity = np.exp(-np.square(distance) / spread)
    return np.array(
        [
            counted.sum(axis=0),
            (counted & (distance <= limit[:, None])).sum(axis=0),
            np.where(counted, similarity, 0.0).sum(axis=0),
        ]
    )


def collect_keypoints(sums: Sequence[NDArray[np.float64]]) -> KeypointTable:
    """Joins the pictures."""
    labelled, correct, similarity = np.stack(sums, axis=1)
    return KeypointTable(labelled, correct, similarity)


def _reference_lengths(truth: ImageTruth, keypoint_names: Sequence[str]) -> NDArray[np.float64]:
    """(M,) in pixels."""
    sides = truth.boxes_xyxy_px[:, 2:] - truth.boxes_xyxy_px[:, :2]
    lengths: NDArray[np.float64] = sides.max(axis=1, initial=0.0)
    if not all(name in keypoint_names for name in _TORSO):
        return lengths
    shoulder, hip = (list(keypoint_names).index(name) for name in _TORSO)
    torso = np.linalg.norm(truth.keypoints_px[:, shoulder] - truth.keypoints_px[:, hip], axis=-1)
    usable = truth.labelled[:, shoulder] & truth.labelled[:, hip] & (torso > 0)
    return np.where(usable, torso, lengths)


def _ratio(part: Sums, whole: Sums) -> Sums:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
