"""BlazePose landmark model: coordinates, visibility and presence of 39 points.

Layout as in the published pose_landmark files (MediaPipe, pose_landmark_gpu.pbtxt and its
TensorsToLandmarksCalculator options): five values a point, x, y, z in input pixels, then the logits of
visibility and presence. The first 33 are the body; the rest serve MediaPipe's own tracking crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import Array, DecodedPoses, require_finite

_VALUES_PER_POINT = 5


@dataclass(frozen=True)
class BlazePoseCodec:
    """Decodes (1, 5 P), P at least K, and a person score (1, 1).

    Attributes:
        keypoint_count: K; the first K points are taken.
        output: Name of the landmark output; None finds the (1, 195) one.
        score_output: Name of the person score; None finds the (1, 1) one.
    """

    keypoint_count: int
    output: str | None = None
    score_output: str | None = None

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes one person.

        The score of a keypoint is its visibility times the person score, so that an empty picture, where
        visibility means nothing, gives low scores.

        Raises:
            ModelError: An output is missing, has a wrong shape or holds NaN.
        """
        rows = self._rows(outputs)
        presence = self._person_score(outputs)
        visibility = 1 / (1 + np.exp(-rows[:, 3].astype(np.float64)))
        scores = (visibility * presence).astype(np.float32)[None]
        keypoints = np.ascontiguousarray(rows[None, :, :2])
        return DecodedPoses(keypoints, scores, np.array([presence], np.float32))

    def _rows(self, outputs: dict[str, Array]) -> Array:
        # 39 points in the published models.
        candidates = (
            [outputs[self.output]]
            if self.output in outputs
            else [o for o in outputs.values() if self.output is None and o.shape == (1, 195)]
        )
        if len(candidates) == 1:
            output = candidates[0]
            if output.ndim == 2 and output.shape[1] % _VALUES_PER_POINT == 0:
                rows = output.reshape(-1, _VALUES_PER_POINT)
                if len(rows) >= self.keypoint_count:
                    require_finite(rows, "landmarks")
                    return rows[: self.keypoint_count]
        raise self._unfit(outputs, f"landmarks (1, {_VALUES_PER_POINT} x at least {self.keypoint_count})")

    def _person_score(self, outputs: dict[str, Array]) -> float:
        candidates = (
            [outputs[self.score_output]]
            if self.score_output in outputs
            else [o for o in outputs.values() if self.score_output is None and o.shape == (1, 1)]
        )
        if len(candidates) == 1 and candidates[0].size == 1:
            require_finite(candidates[0], "person score")
            return float(np.clip(candidates[0].ravel()[0], 0, 1))
        raise self._unfit(outputs, "a person score (1, 1)")

    def _unfit(self, outputs: dict[str, Array], wanted: str) -> ModelError:
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        return ModelError(
            f"BlazePose needs {wanted}; the model gives {found}.",
            "Check codec.output, codec.score_output and the skeleton in the spec.",
        )
