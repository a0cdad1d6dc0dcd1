"""MoveNet single pose: y, x, score per keypoint, normalized to the input (TF Hub model card)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import (
    Array,
    DecodedPoses,
    choose_output,
    mean_confident_score,
    require_finite,
)


@dataclass(frozen=True)
class MovenetCodec:
    """Decodes (1, 1, K, 3).

    Attributes:
        keypoint_count: K.
        input_wh: Size of the model's input in pixels.
        output: Name of the output, or None for the only one.
    """

    keypoint_count: int
    input_wh: tuple[int, int]
    output: str | None = None

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes one person."""
        output = choose_output(outputs, self.output)
        if output.shape != (1, 1, self.keypoint_count, 3):
            raise ModelError(
                f"A MoveNet output has shape (1, 1, {self.keypoint_count}, 3); the model gives "
                f"{output.shape}."
            )
        require_finite(output, "keypoints")
        rows = output[0]
        keypoints = rows[..., 1::-1] * np.asarray(self.input_wh, np.float32)
        scores = np.clip(rows[..., 2], 0, 1)
        return DecodedPoses(keypoints, scores, mean_confident_score(scores))

    def encode(self, keypoints_input_px: Array, scores: Array) -> Array:
        """The output that stands for one person: (1, 1, K, 3) float32.

        Args:
            keypoints_input_px: (K, 2).
            scores: (K,).
        """
        normalized = keypoints_input_px / np.asarray(self.input_wh, np.float32)
        rows = np.concatenate([normalized[:, ::-1], scores[:, None]], axis=1)
        return rows.astype(np.float32)[None, None]
