"""Distribution-aware decoding (DARK).

Zhang et al., CVPR 2020, "Distribution-Aware Coordinate Representation for Human Pose Estimation",
sections 3.2 and 3.3. The heatmap is smoothed, its logarithm is expanded around the highest cell to
second order, and the maximum of that expansion is the keypoint. Only the cells around each maximum are
smoothed, because no other enters the result.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# The smoothing kernel of size 3 has the sigma that OpenCV derives from that size,
# 0.3 * ((3 - 1) * 0.5 - 1) + 0.8 = 0.8, for which OpenCV uses the fixed kernel 1/4, 1/2, 1/4.
_KERNEL = (0.25, 0.5, 0.25)
_RADIUS = 3
_FLOOR = 1e-10
_MIN_DETERMINANT = 1e-12
# The paper takes any step. On a map of noise, as a hidden keypoint has, that is easily hundreds of cells;
# the expansion means nothing so far from the highest cell. AP is the same with and without the limit.
_MAX_OFFSET = 1.5


def _smoothing_rows() -> NDArray[np.float64]:
    """(5, 7): smooths a line of 7 cells to the 5 inner ones.

    As products with matrices all keypoints take a few calls of numpy, whose number is what they cost.
    """
    return sum(weight * np.eye(5, 7, shift) for shift, weight in enumerate(_KERNEL))  # type: ignore[return-value]


def _derivative_columns() -> NDArray[np.float64]:
    """(25, 5): the derivatives dx, dy, dxx, dyy, dxy in the middle of a 5x5 patch, as sums over its cells."""
    forms = np.zeros((5, 5, 5))
    dx, dy, dxx, dyy, dxy = forms
    c = 2
    dx[c, c + 1], dx[c, c - 1] = 0.5, -0.5
    dy[c + 1, c], dy[c - 1, c] = 0.5, -0.5
    dxx[c, c + 2], dxx[c, c], dxx[c, c - 2] = 0.25, -0.5, 0.25
    dyy[c + 2, c], dyy[c, c], dyy[c - 2, c] = 0.25, -0.5, 0.25
    dxy[c + 1, c + 1] = dxy[c - 1, c - 1] = 0.25
    dxy[c - 1, c + 1] = dxy[c + 1, c - 1] = -0.25
    return np.ascontiguousarray(forms.reshape(5, 25).T)


_SMOOTH = _smoothing_rows()
_DERIVATIVES = _derivative_columns()
_REACH = np.arange(-_RADIUS, _RADIUS + 1)


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
    log = np.log(np.maximum(patches, _FLOOR)).reshape(len(patches), 25)
    last_x, last_y = heatmaps.shape[2] - 2, heatmaps.shape[1] - 2
    # A dozen keypoints are sooner done in plain floats than numpy is called twenty times.
    steps = [
        _newton_step(*forms) if 1 < x < last_x and 1 < y < last_y else (0.0, 0.0)
        for forms, (x, y) in zip((log @ _DERIVATIVES).tolist(), peaks_xy.tolist(), strict=True)
    ]
    return np.array(steps, dtype=np.float64).reshape(-1, 2)


def _newton_step(dx: float, dy: float, dxx: float, dyy: float, dxy: float) -> tuple[float, float]:
    """``-H^-1 g`` where the expansion has a maximum near enough, else no step."""
    determinant = dxx * dyy - dxy * dxy
    if not (determinant > _MIN_DETERMINANT and dxx < 0):
        return 0.0, 0.0
    step_x, step_y = (dxy * dy - dyy * dx) / determinant, (dxy * dx - dxx * dy) / determinant
    if abs(step_x) > _MAX_OFFSET or abs(step_y) > _MAX_OFFSET:
        return 0.0, 0.0
    return step_x, step_y


def _smoothed_patches(heatmaps: NDArray[np.floating], peaks_xy: NDArray[np.intp]) -> NDArray[np.float64]:
    """(K, 5, 5): the smoothed heatmap around each peak.

    The paper scales the smoothed map back to its old maximum; in the logarithm that is a constant, which
    the derivatives do not see. Outside the map the border cell is mirrored, as OpenCV's default border does.
    """
    count, height, width = heatmaps.shape
    rows = _neighbours(height)[peaks_xy[:, 1]]
    columns = _neighbours(width)[peaks_xy[:, 0]]
    which = np.arange(count)[:, None, None]
    raw = heatmaps[which, rows[:, :, None], columns[:, None, :]].astype(np.float64)
    return np.asarray(_SMOOTH @ raw @ _SMOOTH.T)


@lru_cache(maxsize=8)
def _neighbours(size: int) -> NDArray[np.intp]:
    """(size, 7): the cells around each cell of a line, mirrored at its ends without repeating them."""
    index, last = np.arange(size)[:, None] + _REACH, size - 1
    return np.maximum(last - np.abs(last - np.abs(index)), 0)
