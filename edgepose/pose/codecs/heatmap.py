"""One heatmap per keypoint."""

from __future__ import annotations

from dataclasses import dataclass
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
from edgepose.pose.codecs.dark import dark_offsets

Subpixel = Literal["none", "quarter", "dark"]


@dataclass(frozen=True)
class HeatmapCodec:
    """Cell (i, j) of a heatmap stands for input pixel (i * W / w, j * H / h), no half pixel.

    Attributes:
        keypoint_count: K.
        input_wh: Size of the model's input in pixels.
        subpixel: ``none`` takes the highest cell; ``quarter`` moves a quarter cell towards the higher
            neighbour (Newell et al. 2016); ``dark`` is :mod:`edgepose.pose.codecs.dark`.
        output: Name of the output, or None for the only one.
    """

    keypoint_count: int
    input_wh: tuple[int, int]
    subpixel: Subpixel = "dark"
    output: str | None = None

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes (1, K, h, w) or (1, h, w, K) heatmaps into one person.

        Raises:
            ModelError: The output has another shape or holds NaN.
        """
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

    Args:
        heatmaps: (K, h, w).
        subpixel: How to refine the maximum.

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
