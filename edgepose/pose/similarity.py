"""Object keypoint similarity (OKS): the one definition in edgepose."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# COCO's convention for boxes without a segmentation: the mean share of a person's box that the
# person's mask covers (xtcocotools and mmpose use the same figure).
BOX_TO_MASK_AREA = 0.53


def oks_matrix(
    detected_px: NDArray[np.floating],
    truth_px: NDArray[np.floating],
    truth_visible: NDArray[np.bool_],
    truth_area_px2: NDArray[np.floating],
    sigmas: NDArray[np.floating],
) -> NDArray[np.float64]:
    """OKS of every detection with every labelled person.

    ``OKS = mean over labelled keypoints of exp(-d^2 / (2 * area * (2 * sigma)^2))``, the formula of
    cocoeval.py (``computeOks``), which adds machine epsilon to the area.

    Args:
        detected_px: (N, K, 2).
        truth_px: (M, K, 2).
        truth_visible: (M, K), which keypoints are labelled.
        truth_area_px2: (M,), object area in square pixels.
        sigmas: (K,), the skeleton's ``oks_sigmas``.

    Returns:
        (N, M) in [0, 1]; 0 for a person without a labelled keypoint.
    """
    delta = detected_px[:, None].astype(np.float64) - truth_px[None].astype(np.float64)
    squared = np.square(delta).sum(axis=-1)
    variance = np.square(2 * np.asarray(sigmas, dtype=np.float64))
    area = np.asarray(truth_area_px2, dtype=np.float64) + np.spacing(1)
    exponent = squared / variance / area[None, :, None] / 2
    weight = truth_visible.astype(np.float64)[None]
    labelled = weight.sum(axis=-1)
    total = (np.exp(-exponent) * weight).sum(axis=-1)
    return np.asarray(np.divide(total, labelled, out=np.zeros_like(total), where=labelled > 0))


def oks_between(
    first_px: ArrayLike, second_px: ArrayLike, area_px2: float, sigmas: NDArray[np.floating]
) -> float:
    """OKS of two poses of one person, all keypoints counted."""
    first, second = np.asarray(first_px)[None], np.asarray(second_px)[None]
    everything = np.ones(first.shape[:2], dtype=bool)
    return float(oks_matrix(first, second, everything, np.array([area_px2]), sigmas)[0, 0])
