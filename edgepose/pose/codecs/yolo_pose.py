"""YOLO-pose: boxes, scores and keypoints of all persons in one tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.errors import ModelError
from edgepose.pose.boxes import non_maximum_suppression
from edgepose.pose.codecs.codec import Array, DecodedPoses, choose_output, require_finite


@dataclass(frozen=True)
class YoloPoseCodec:
    """Rows of cx, cy, w, h, score, then x, y, score per keypoint, in input pixels.

    Attributes:
        keypoint_count: K.
        score_threshold: Persons below are not reported.
        nms_iou: Overlap above which the worse of two boxes is dropped.
        max_detections: Most persons per image.
        output: Name of the output, or None for the only one.
    """

    keypoint_count: int
    score_threshold: float = 0.25
    nms_iou: float = 0.65
    max_detections: int = 20
    output: str | None = None

    @property
    def row_length(self) -> int:
        """Values per candidate: 5 + 3K."""
        return 5 + 3 * self.keypoint_count

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes (1, 5 + 3K, N) or (1, N, 5 + 3K)."""
        rows = self._rows(choose_output(outputs, self.output))
        require_finite(rows, "rows")
        rows = rows[rows[:, 4] >= self.score_threshold]
        half = rows[:, 2:4] / 2
        boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
        kept = non_maximum_suppression(boxes, rows[:, 4], self.nms_iou, self.max_detections)
        keypoints = rows[kept, 5:].reshape(len(kept), self.keypoint_count, 3)
        return DecodedPoses(
            np.ascontiguousarray(keypoints[..., :2]),
            np.clip(keypoints[..., 2], 0, 1),
            np.ascontiguousarray(rows[kept, 4]),
            boxes[kept],
        )

    def encode(self, poses: DecodedPoses) -> Array:
        """The output that stands for these persons: (1, 5 + 3K, N) float32.

        Raises:
            ModelError: The persons have no boxes.
        """
        boxes = poses.boxes_xyxy_input_px
        if boxes is None:
            raise ModelError("YOLO-pose rows hold a box; these poses have none.")
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        keypoints = np.concatenate([poses.keypoints_input_px, poses.keypoint_scores[..., None]], axis=-1)
        rows = np.concatenate(
            [centre, size, poses.scores[:, None], keypoints.reshape(len(boxes), 3 * self.keypoint_count)],
            axis=1,
        )
        return rows.T.astype(np.float32)[None]

    def _rows(self, output: Array) -> Array:
        if output.ndim == 3 and output.shape[0] == 1:
            if output.shape[1] == self.row_length:
                return np.ascontiguousarray(output[0].T)
            if output.shape[2] == self.row_length:
                return output[0]
        raise ModelError(
            f"A YOLO-pose output for {self.keypoint_count} keypoints has shape (1, {self.row_length}, N) "
            f"or (1, N, {self.row_length}); the model gives {output.shape}.",
            "Check the skeleton in the spec.",
        )
