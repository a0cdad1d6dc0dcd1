"""One heatmap per keypoint, with distribution-aware decoding (DARK).

Zhang et al., CVPR 2020, "Distribution-Aware Coordinate Representation for Human Pose Estimation",
sections 3.2 and 3.3. The heatmap is smoothed, its logarithm is expanded around the highest cell to
second order, and the maximum of that expansion is the keypoint. Only the cells around each maximum are
smoothed, because no other enters the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import (
    Array,
    DecodedPoses,
    choose_output,
    mean_confident_score,
    require_finite,
)

# The smoothing kernel of size 3 has the sigma that OpenCV derives from that size,
# 0.3 * ((3 - 1) * 0.5 - 1) + 0.8 = 0.8, for which OpenCV uses the fixed kernel 1/4, 1/2, 1/4.
_KERNEL = (0.25, 0.5, 0.25)
_RADIUS = 3
_FLOOR = 1e-10
_MIN_DETERMINANT = 1e-12
# The paper takes any step. On a map of noise, as a hidden keypoint has, that is easily hundreds of cells;
# the expansion means nothing so far from the highest cell. AP is the same with and without the limit.
_MAX_OFFSET = 1.5


def _smoothing() -> NDArray[np.float64]:
    """(49, 25): smooths a patch of 7x7 cells to the 5x5 inner ones.

    As products with matrices all keypoints take a few calls of numpy, whose number is what they cost.
    """
    line = sum(weight * np.eye(5, 7, shift) for shift, weight in enumerate(_KERNEL))
    return np.ascontiguousarray(np.kron(line, line).T)


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


_SMOOTH = _smoothing()
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
    log = np.log(np.maximum(_smoothed_patches(heatmaps, peaks_xy), _FLOOR))
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
    """(K, 25): the smoothed heatmap around each peak.

    The paper scales the smoothed map back to its old maximum; in the logarithm that is a constant, which
    the derivatives do not see. Outside the map the border cell is mirrored, as OpenCV's default border does.
    """
    count, height, width = heatmaps.shape
    rows = _neighbours(height)[peaks_xy[:, 1]]
    columns = _neighbours(width)[peaks_xy[:, 0]]
    which = np.arange(count)[:, None, None]
    raw = heatmaps[which, rows[:, :, None], columns[:, None, :]].reshape(count, 49)
    return np.asarray(raw.astype(np.float64) @ _SMOOTH)


@lru_cache(maxsize=8)
def _neighbours(size: int) -> NDArray[np.intp]:
    """(size, 7): the cells around each cell of a line, mirrored at its ends without repeating them."""
    index, last = np.arange(size)[:, None] + _REACH, size - 1
    return np.maximum(last - np.abs(last - np.abs(index)), 0)


Subpixel = Literal["none", "quarter", "dark"]


@dataclass(frozen=True)
class HeatmapCodec:
    """Cell (i, j) of a heatmap stands for input pixel (i * W / w, j * H / h), no half pixel.

    Attributes:
        keypoint_count: K.
        input_wh: Size of the model's input in pixels.
        subpixel: ``none`` takes the highest cell; ``quarter`` moves a quarter cell towards the higher
            neighbour (Newell et al. 2016); ``dark`` is :mod:`edgepose.pose.codecs.heatmap`.
        output: Name of the output, or None for the only one.
    """

    keypoint_count: int
    input_wh: tuple[int, int]
    subpixel: Subpixel = "dark"
    output: str | None = None

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes (1, K, h, w) or (1, h, w, K) heatmaps into one person."""
        output = choose_output(outputs, self.output)
        # Before the axes move: a sum over memory in order costs a sixth.
        require_finite(output, "heatmaps")
        heatmaps = self.keypoints_first(output)
        cells, scores = decode_heatmaps(heatmaps, self.subpixel)
        keypoints = (cells * self._cell_px(heatmaps.shape)).astype(np.float32)[None]
        keypoint_scores = np.clip(scores, 0, 1).astype(np.float32)[None]
        return DecodedPoses(keypoints, keypoint_scores, mean_confident_score(keypoint_scores))

    def encode(
        self, keypoints_input_px: Array, visible: NDArray[np.bool_], map_wh: tuple[int, int], sigma: float
    ) -> Array:
        """Training targets: a Gaussian of height 1 at each visible keypoint.

        Args:
            keypoints_input_px: (K, 2).
            visible: (K,); the others get an empty map.
            map_wh: Size of a heatmap.
            sigma: Standard deviation in cells (2 for 64x48 in Xiao et al. 2018).

        Returns:
            (K, h, w) float32 in [0, 1].
        """
        width, height = map_wh
        cells = keypoints_input_px / self._cell_px((0, height, width))
        along_x = np.exp(-np.square(np.arange(width)[None] - cells[:, 0, None]) / (2 * sigma**2))
        along_y = np.exp(-np.square(np.arange(height)[None] - cells[:, 1, None]) / (2 * sigma**2))
        # A Gaussian is the product of its sides: w + h exponentials instead of w * h.
        targets = (along_y * visible[:, None])[:, :, None] * along_x[:, None, :]
        return targets.astype(np.float32)

    def _cell_px(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.array([self.input_wh[0] / shape[-1], self.input_wh[1] / shape[-2]])

    def keypoints_first(self, output: Array) -> Array:
        """(K, h, w) from either layout; the keypoint axis is the one of size K.

        Raises:
            ModelError: The output has another shape.
        """
        if output.ndim == 4 and output.shape[0] == 1:
            first, last = output.shape[1] == self.keypoint_count, output.shape[3] == self.keypoint_count
            # A map as wide as there are keypoints fits both: the one shaped like the input is right.
            if first and last:
                first = self._shaped_like_input(output.shape[2:])
            if first or last:
                return output[0] if first else output[0].transpose(2, 0, 1)
        raise ModelError(
            f"A heatmap output has shape (1, {self.keypoint_count}, h, w) or (1, h, w, "
            f"{self.keypoint_count}); the model gives {output.shape}.",
            "Check the skeleton and codec.output in the spec.",
        )

    def _shaped_like_input(self, map_hw: tuple[int, ...]) -> bool:
        return map_hw[0] * self.input_wh[0] == map_hw[1] * self.input_wh[1]


def decode_heatmaps(heatmaps: Array, subpixel: Subpixel) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Finds the maximum of each heatmap.

    Returns:
        Positions (K, 2) in cells, x then y, and the height of each maximum (K,).
    """
    count, _, width = heatmaps.shape
    flat = heatmaps.reshape(count, -1)
    highest = flat.argmax(axis=1)
    rows, columns = np.divmod(highest, width)
    peaks = np.stack([columns, rows], axis=-1)
    scores = flat[np.arange(count), highest]
    if subpixel == "dark":
        return peaks + dark_offsets(heatmaps, peaks), scores
    if subpixel == "quarter":
        return peaks + _quarter_offsets(heatmaps, peaks), scores
    return peaks.astype(np.float64), scores


def _quarter_offsets(heatmaps: Array, peaks_xy: NDArray[np.intp]) -> NDArray[np.float64]:
    count, height, width = heatmaps.shape
    which = np.arange(count)
    x, y = peaks_xy[:, 0], peaks_xy[:, 1]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    # Clipped indices are only read where `inside` discards the result.
    right, left = np.minimum(x + 1, width - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, height - 1), np.maximum(y - 1, 0)
    dx = np.sign(heatmaps[which, y, right] - heatmaps[which, y, left])
    dy = np.sign(heatmaps[which, below, x] - heatmaps[which, above, x])
    return np.where(inside[:, None], 0.25 * np.stack([dx, dy], axis=-1), 0.0)
