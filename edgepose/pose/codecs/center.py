"""Boxes as points: one map of where centres are, four of what the box is like there (Zhou et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.boxes import non_maximum_suppression
from edgepose.pose.codecs.codec import Array, choose_output, require_finite

CHANNELS = 5
# All five channels stay within about -1.5 to 1.5, so that one int8 scale serves them: the score is a logit
# over 4, a side is half the logarithm of its length in units of 8 cells.
LOGIT_SCALE = 4.0
_SIDE_CELLS = 8.0
_SIDE_SCALE = 2.0
# exp of twice this is already 400 times the unit; what a damaged model gives above is cut, not overflowed.
_LARGEST_SIDE = 3.0


@dataclass(frozen=True)
class CenterCodec:
    """One output (1, h, w, 5): score, offset of the centre x, y in cells, width, height.

    A cell's own place is (column, row) + 0.5 in cells. A cell counts where its score is the highest of its
    3 x 3 neighbourhood.

    Attributes:
        input_wh: Size of the model's input in pixels.
        score_threshold: Boxes below are dropped.
        nms_iou: Overlap above which the worse of two boxes is dropped.
        max_detections: Most boxes per image.
        output: Name of the output, or None for the only one.
    """

    input_wh: tuple[int, int]
    score_threshold: float = 0.25
    nms_iou: float = 0.65
    max_detections: int = 20
    output: str | None = None

    def decode_boxes(self, outputs: dict[str, Array]) -> tuple[Array, Array]:
        """Finds persons.

        Returns:
            Boxes (N, 4) xyxy in input pixels and scores (N,), best first.

        Raises:
            ModelError: The output has another shape or holds NaN.
        """
        maps = self._maps(choose_output(outputs, self.output))
        require_finite(maps, "maps")
        scores = 1 / (1 + np.exp(-LOGIT_SCALE * np.clip(maps[..., 0], -10, 10)))
        rows, columns = np.nonzero(_is_peak(scores) & (scores >= self.score_threshold))
        boxes = self._boxes(maps[rows, columns], np.stack([columns, rows], axis=-1), scores.shape)
        found = scores[rows, columns].astype(np.float32)
        kept = non_maximum_suppression(boxes, found, self.nms_iou, self.max_detections)
        return boxes[kept], found[kept]

    def encode(self, boxes_xyxy_px: Array, cells: NDArray[np.intp], map_wh: tuple[int, int]) -> Array:
        """What each cell would have to say to give a box.

        Args:
            boxes_xyxy_px: (N, 4) in input pixels.
            cells: (N, 2), column and row of the cells.
            map_wh: Size of the maps in cells.

        Returns:
            (N, 4): offset x, y, width, height as the maps hold them.
        """
        cell_px = np.array([self.input_wh[0] / map_wh[0], self.input_wh[1] / map_wh[1]])
        boxes = np.asarray(boxes_xyxy_px, np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / cell_px
        sides = (boxes[:, 2:] - boxes[:, :2]) / cell_px
        offsets = centres - (cells + 0.5)
        return np.concatenate([offsets, np.log(sides / _SIDE_CELLS) / _SIDE_SCALE], axis=1).astype(np.float32)

    def _boxes(self, values: Array, cells: NDArray[np.intp], shape: tuple[int, ...]) -> Array:
        cell_px = np.array([self.input_wh[0] / shape[1], self.input_wh[1] / shape[0]])
        centres = (cells + 0.5 + values[:, 1:3]) * cell_px
        logarithms = np.minimum(values[:, 3:5], _LARGEST_SIDE)
        half = np.exp(_SIDE_SCALE * logarithms) * _SIDE_CELLS * cell_px / 2
        return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)

    def _maps(self, output: Array) -> Array:
        """(h, w, 5), from NHWC or NCHW."""
        if output.ndim == 4 and output.shape[0] == 1:
            if output.shape[3] == CHANNELS and output.shape[1] != CHANNELS:
                return output[0]
            if output.shape[1] == CHANNELS and output.shape[3] != CHANNELS:
                return np.asarray(output[0].transpose(1, 2, 0))
        raise ModelError(
            f"A centre map has shape (1, h, w, {CHANNELS}) or (1, {CHANNELS}, h, w); the model gives "
            f"{output.shape}."
        )


def _is_peak(scores: Array) -> NDArray[np.bool_]:
    """(h, w): whether no neighbour is higher, and none before it in reading order as high."""
    height, width = scores.shape
    padded = np.pad(scores, 1, constant_values=-np.inf)
    peak = np.ones(scores.shape, bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dx or dy:
                other = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
                # Of a plateau the first cell stands for all.
                peak &= scores > other if (dy, dx) < (0, 0) else scores >= other
    return peak
