"""Ridge regression of a convolution's weights: the part of a zoo model that knows what a keypoint is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_RIDGE = 1e-4
# A cell at the top of a target counts this much more than an empty one: there are about fifty times fewer.
_PEAK_WEIGHT = 30.0
# Of the cells below this height only every n-th is used, for speed, and counts n-fold.
_EMPTY, _EMPTY_STEP = 0.01, 5


def fit_convolution(
    features: Sequence[Array], targets: Sequence[Array], kernel: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fits ``conv(features) = targets`` with zero padding of half the kernel.

    Args:
        features: (1, C, h, w) each.
        targets: (1, K, h, w) each, 0 to 1.
        kernel: Side of the kernel, odd.

    Returns:
        Weights (K, C, kernel, kernel) and bias (K,), float32.
    """
    channels, outputs = features[0].shape[1], targets[0].shape[1]
    size = channels * kernel * kernel
    gram, product = np.zeros((size + 1, size + 1)), np.zeros((size + 1, outputs))
    for feature, target in zip(features, targets, strict=True):
        rows = _patches(feature[0], kernel)
        wanted = target[0].reshape(outputs, -1).T.astype(np.float64)
        height = wanted.max(axis=1)
        kept = (height > _EMPTY) | (np.arange(len(height)) % _EMPTY_STEP == 0)
        rows, wanted, height = rows[kept], wanted[kept], height[kept, None]
        weights = np.where(height > _EMPTY, 1 + _PEAK_WEIGHT * height, _EMPTY_STEP)
        gram += rows.T @ (rows * weights)
        product += rows.T @ (wanted * weights)
    solved = fit_rows(gram, product)
    return (
        solved[:-1].T.reshape(outputs, channels, kernel, kernel).astype(np.float32),
        solved[-1].astype(np.float32),
    )


def fit_rows(gram: NDArray[np.float64], product: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solves ``(gram + ridge) x = product``, the ridge relative to the mean diagonal; the bias is free."""
    penalty = np.full(len(gram), _RIDGE * np.trace(gram) / len(gram))
    penalty[-1] = 0.0
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), product), np.float64)


def _patches(feature: Array, kernel: int) -> NDArray[np.float64]:
    """(cells, C * kernel * kernel + 1), the last column 1."""
    reach = kernel // 2
    padded = np.pad(feature.astype(np.float64), ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    cells = windows.transpose(1, 2, 0, 3, 4).reshape(feature.shape[1] * feature.shape[2], -1)
    return np.hstack([cells, np.ones((len(cells), 1))])
