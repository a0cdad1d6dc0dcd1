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
    dx, dy, dxx, dyy, dxy = (log @ _DERIVATIVES).T
    determinant = dxx * dyy - dxy * dxy
    is_maximum = (determinant > _MIN_DETERMINANT) & (dxx < 0)
    usable = _inside(heatmaps.shape, peaks_xy) & is_maximum
    # Newton's step -H^-1 g for a 2x2 Hessian.
    step = np.empty((len(patches), 2))
    step[:, 0] = dxy * dy - dyy * dx
    step[:, 1] = dxy * dx - dxx * dy
    # Where there is no maximum the quotient is not used.
    step /= np.where(usable, determinant, 1.0)[:, None]
    usable &= (np.abs(step) <= _MAX_OFFSET).all(axis=1)
    step[~usable] = 0.0
    return step


def _inside(shape: tuple[int, ...], peaks_xy: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Peaks whose second neighbours exist on every side."""
    _, height, width = shape
    return np.asarray(((peaks_xy > 1) & (peaks_xy < (width - 2, height - 2))).all(axis=1))


def _smoothed_patches(heatmaps: NDArray[np.floating], peaks_xy: NDArray[np.intp]) -> NDArray[np.float64]:
    """(K, 5, 5): the smoothed heatmap around each peak.

    The paper scales the smoothed map back to its old maximum; in the logarithm that is a constant, which
    the derivatives do not see. Outside the map the border cell is mirrored, as OpenCV's default border does.
    """
    count, height, width = heatmaps.shape
    rows = _mirrored(peaks_xy[:, 1, None] + _REACH, height)
    columns = _mirrored(peaks_xy[:, 0, None] + _REACH, width)
    which = np.arange(count)[:, None, None]
    raw = heatmaps[which, rows[:, :, None], columns[:, None, :]].astype(np.float64)
    return np.asarray(_SMOOTH @ raw @ _SMOOTH.T)


def _mirrored(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Reflects indices at the first and last cell without repeating it."""
    last = size - 1
    return np.maximum(last - np.abs(last - np.abs(index)), 0)
