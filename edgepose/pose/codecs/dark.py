"""Distribution-aware decoding (DARK).

Zhang et al., CVPR 2020, "Distribution-Aware Coordinate Representation for Human Pose Estimation",
sections 3.2 and 3.3. The heatmap is smoothed, its logarithm is expanded around the highest cell to
second order, and the maximum of that expansion is the keypoint. Only the cells around each maximum are
smoothed, because no other enters the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The smoothing kernel of size 3 has the sigma that OpenCV derives from that size,
# 0.3 * ((3 - 1) * 0.5 - 1) + 0.8 = 0.8, for which OpenCV uses the fixed kernel 1/4, 1/2, 1/4.
_KERNEL = np.array([0.25, 0.5, 0.25])
_RADIUS = 3
_FLOOR = 1e-10
_MIN_DETERMINANT = 1e-12
# The paper takes any step. On a map of noise, as a hidden keypoint has, that is easily hundreds of cells;
# the expansion means nothing so far from the highest cell. AP is the same with and without the limit.
_MAX_OFFSET = 1.5


def dark_offsets(heatmaps: NDArray[np.floating], peaks_xy: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sub-cell offsets of each maximum.

    Args:
        heatmaps: (K, H, W), real values.
        peaks_xy: (K, 2), integer cell of each maximum, x then y.

    Returns:
        (K, 2) offsets in cells; 0 within one cell of the border, and where the expansion has no maximum
        or has it more than 1.5 cells away.
    """
    patches = _smoothed_patches(heatmaps, peaks_xy)
    log = np.log(np.maximum(patches, _FLOOR))
    c = 2
    dx = 0.5 * (log[:, c, c + 1] - log[:, c, c - 1])
    dy = 0.5 * (log[:, c + 1, c] - log[:, c - 1, c])
    dxx = 0.25 * (log[:, c, c + 2] - 2 * log[:, c, c] + log[:, c, c - 2])
    dyy = 0.25 * (log[:, c + 2, c] - 2 * log[:, c, c] + log[:, c - 2, c])
    dxy = 0.25 * (log[:, c + 1, c + 1] - log[:, c - 1, c + 1] - log[:, c + 1, c - 1] + log[:, c - 1, c - 1])
    determinant = dxx * dyy - dxy * dxy
    is_maximum = (determinant > _MIN_DETERMINANT) & (dxx < 0)
    usable = _inside(heatmaps.shape, peaks_xy) & is_maximum
    safe = np.where(usable, determinant, 1.0)
    # Newton's step -H^-1 g for a 2x2 Hessian.
    offset = np.stack([-(dyy * dx - dxy * dy) / safe, -(dxx * dy - dxy * dx) / safe], axis=-1)
    usable &= (np.abs(offset) <= _MAX_OFFSET).all(axis=-1)
    return np.where(usable[:, None], offset, 0.0)


def _inside(shape: tuple[int, ...], peaks_xy: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Peaks whose second neighbours exist on every side."""
    _, height, width = shape
    x, y = peaks_xy[:, 0], peaks_xy[:, 1]
    return np.asarray((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))


def _smoothed_patches(heatmaps: NDArray[np.floating], peaks_xy: NDArray[np.intp]) -> NDArray[np.float64]:
    """(K, 5, 5): the smoothed heatmap around each peak.

    The paper scales the smoothed map back to its old maximum; in the logarithm that is a constant, which
    the derivatives do not see. Outside the map the border cell is mirrored, as OpenCV's default border does.
    """
    count, height, width = heatmaps.shape
    reach = np.arange(-_RADIUS, _RADIUS + 1)
    rows = _mirrored(peaks_xy[:, 1, None] + reach, height)
    columns = _mirrored(peaks_xy[:, 0, None] + reach, width)
    which = np.arange(count)[:, None, None]
    raw = heatmaps[which, rows[:, :, None], columns[:, None, :]].astype(np.float64)
    vertical = _KERNEL[0] * raw[:, :-2] + _KERNEL[1] * raw[:, 1:-1] + _KERNEL[2] * raw[:, 2:]
    return np.asarray(
        _KERNEL[0] * vertical[:, :, :-2] + _KERNEL[1] * vertical[:, :, 1:-1] + _KERNEL[2] * vertical[:, :, 2:]
    )


def _mirrored(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Reflects indices at the first and last cell without repeating it."""
    index = np.abs(index)
    return np.clip(np.where(index >= size, 2 * (size - 1) - index, index), 0, size - 1)
