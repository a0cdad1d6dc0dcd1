"""PoseNet, single person: coarse heatmaps with short-range offsets.

Papandreou et al., ECCV 2018, "PersonLab", section 3.1: the highest cell of each heatmap plus the offset
vector stored there. The layout is that of the published MobileNet files: offsets hold all y, then all x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import Array, DecodedPoses, mean_confident_score, require_finite


@dataclass(frozen=True)
class PosenetCodec:
    """Decodes (1, h, w, K) logits and (1, h, w, 2K) offsets in input pixels.

    Attributes:
        keypoint_count: K.
        input_wh: Size of the model's input in pixels; the cells span it corner to corner.
        heatmaps: Name of the heatmap output; None finds it by its K channels.
        offsets: Name of the offset output; None finds it by its 2K channels.
    """

    keypoint_count: int
    input_wh: tuple[int, int]
    heatmaps: str | None = None
    offsets: str | None = None

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes one person; a keypoint's score is the sigmoid of its highest logit."""
        count = self.keypoint_count
        logits = self._channels(outputs, self.heatmaps, count)
        offsets = self._channels(outputs, self.offsets, 2 * count)
        require_finite(logits, "heatmaps")
        require_finite(offsets, "offsets")
        height, width, _ = logits.shape
        highest = logits.reshape(-1, count).argmax(axis=0)
        rows, columns = highest // width, highest % width
        which = np.arange(count)
        stride = np.array([(self.input_wh[0] - 1) / (width - 1), (self.input_wh[1] - 1) / (height - 1)])
        shift = np.stack([offsets[rows, columns, which + count], offsets[rows, columns, which]], axis=-1)
        keypoints = np.stack([columns, rows], axis=-1) * stride + shift
        scores = 1 / (1 + np.exp(-logits[rows, columns, which].astype(np.float64)))
        keypoint_scores = scores.astype(np.float32)[None]
        return DecodedPoses(
            keypoints.astype(np.float32)[None], keypoint_scores, mean_confident_score(keypoint_scores)
        )

    def _channels(self, outputs: dict[str, Array], name: str | None, channels: int) -> Array:
        """(h, w, channels) of the named output, or of the only one with that many channels."""
        fitting = [
            output
            for key, output in outputs.items()
            if name in {None, key}
            and output.ndim == 4
            and (output.shape[0], output.shape[3]) == (1, channels)
        ]
        if len(fitting) == 1 and min(fitting[0].shape[1:3]) > 1:
            return fitting[0][0]
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        raise ModelError(
            f"PoseNet needs {f'output {name!r}' if name else 'one output'} of shape (1, h, w, {channels}); "
            f"the model gives {found}.",
            "Check codec.heatmaps, codec.offsets and the skeleton in the spec.",
        )
