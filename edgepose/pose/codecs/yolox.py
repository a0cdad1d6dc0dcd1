"""YOLOX detector output: undecoded rows over three strides (Ge et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.boxes import non_maximum_suppression
from edgepose.pose.codecs.codec import Array, choose_output, require_finite

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class YoloxCodec:
    """Rows of dx, dy, log w, log h, objectness, class scores; one row per grid cell and stride.

    Attributes:
        input_wh: Size of the model's input in pixels.
        class_ids: Classes that count as a person.
        score_threshold: Boxes below are dropped.
        nms_iou: Overlap above which the worse of two boxes is dropped.
        max_detections: Most boxes per image.
        output: Name of the output, or None for the only one.
    """

    input_wh: tuple[int, int]
    class_ids: tuple[int, ...] = (0,)
    score_threshold: float = 0.25
    nms_iou: float = 0.65
    max_detections: int = 20
    output: str | None = None

    def decode_boxes(self, outputs: dict[str, Array]) -> tuple[Array, Array]:
        """Finds persons.

        Returns:
            Boxes (N, 4) xyxy in input pixels and scores (N,), best first.
        """
        rows = self._rows(choose_output(outputs, self.output))
        require_finite(rows, "rows")
        scores = rows[:, 4] * rows[:, [5 + c for c in self.class_ids]].max(axis=1)
        candidates = np.flatnonzero(scores >= self.score_threshold)
        boxes = self._boxes(rows[candidates], candidates)
        kept = non_maximum_suppression(boxes, scores[candidates], self.nms_iou, self.max_detections)
        return boxes[kept], scores[candidates][kept]

    def _boxes(self, rows: Array, index: NDArray[np.intp]) -> Array:
        cells, strides = self._grid()
        centre = (rows[:, :2] + cells[index]) * strides[index, None]
        with np.errstate(over="ignore"):  # an overflow is refused in the next line but one
            half = np.exp(rows[:, 2:4]) * strides[index, None] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        require_finite(boxes, "boxes")
        return boxes

    def _grid(self) -> tuple[Array, Array]:
        """Cell (x, y) and stride of every row, in the order of the output."""
        cells, strides = [], []
        for stride in STRIDES:
            columns, rows = self.input_wh[0] // stride, self.input_wh[1] // stride
            y, x = np.mgrid[:rows, :columns]
            cells.append(np.stack([x.ravel(), y.ravel()], axis=-1))
            strides.append(np.full(rows * columns, stride))
        return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)

    def _rows(self, output: Array) -> Array:
        expected = sum((self.input_wh[0] // s) * (self.input_wh[1] // s) for s in STRIDES)
        least = 6 + max(self.class_ids)
        if output.ndim == 3 and output.shape[:2] == (1, expected) and output.shape[2] >= least:
            return output[0]
        raise ModelError(
            f"A YOLOX output has shape (1, {expected}, at least {least}); the model gives {output.shape}."
        )
