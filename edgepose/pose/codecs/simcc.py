"""SimCC: two one-dimensional distributions per keypoint (Li et al., ECCV 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import Array, DecodedPoses, mean_confident_score, require_finite


@dataclass(frozen=True)
class SimccCodec:
    """Bin b along an axis stands for input pixel ``b / split_ratio``.

    Attributes:
        keypoint_count: K.
        input_wh: Size of the model's input in pixels.
        split_ratio: Bins per input pixel.
        outputs: Names of the x and the y output; None finds them by their length.
    """

    keypoint_count: int
    input_wh: tuple[int, int]
    split_ratio: float = 2.0
    outputs: tuple[str, str] | None = None

    @property
    def bins_xy(self) -> tuple[int, int]:
        """Number of bins along x and y."""
        width, height = self.input_wh
        return int(width * self.split_ratio), int(height * self.split_ratio)

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Decodes (1, K, bins) distributions, or their transpose, into one person.

        The score of a keypoint is the smaller of the two maxima, clipped to [0, 1] (mmpose's
        ``get_simcc_maximum``).
        """
        along_x, along_y = self._pick(outputs)
        require_finite(along_x, "x distributions")
        require_finite(along_y, "y distributions")
        bins = np.stack([along_x.argmax(axis=1), along_y.argmax(axis=1)], axis=-1)
        heights = np.minimum(along_x.max(axis=1), along_y.max(axis=1))
        keypoints = (bins / self.split_ratio).astype(np.float32)[None]
        scores = np.clip(heights, 0, 1).astype(np.float32)[None]
        return DecodedPoses(keypoints, scores, mean_confident_score(scores))

    def encode(
        self, keypoints_input_px: Array, visible: NDArray[np.bool_], sigma_bins: float
    ) -> tuple[Array, Array]:
        """Training targets: a Gaussian of height 1 along each axis.

        Args:
            keypoints_input_px: (K, 2).
            visible: (K,); the others get an empty target.
            sigma_bins: Standard deviation in bins.

        Returns:
            (K, bins_x) and (K, bins_y) float32.
        """
        targets = []
        for axis, bins in enumerate(self.bins_xy):
            centre = keypoints_input_px[:, axis, None] * self.split_ratio
            squared = np.square(np.arange(bins)[None] - centre)
            target = np.exp(-squared / (2 * sigma_bins**2)) * visible[:, None]
            targets.append(target.astype(np.float32))
        return targets[0], targets[1]

    def _pick(self, outputs: dict[str, Array]) -> tuple[Array, Array]:
        bins_x, bins_y = self.bins_xy
        if self.outputs is not None and all(name in outputs for name in self.outputs):
            chosen = [outputs[name] for name in self.outputs]
        elif self.outputs is None and bins_x != bins_y and len(outputs) == 2:
            chosen = sorted(outputs.values(), key=lambda o: bins_x not in o.shape)
        else:
            chosen = []
        if len(chosen) == 2:
            pair = self._rows(chosen[0], bins_x), self._rows(chosen[1], bins_y)
            if pair[0] is not None and pair[1] is not None:
                return pair[0], pair[1]
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        names = " and ".join(self.outputs) if self.outputs else "two outputs"
        raise ModelError(
            f"SimCC needs {names} of shapes (1, {self.keypoint_count}, {bins_x}) and "
            f"(1, {self.keypoint_count}, {bins_y}); the model gives {found}.",
            "Check codec.outputs, split_ratio and the skeleton in the spec.",
        )

    def _rows(self, output: Array, bins: int) -> Array | None:
        """(K, bins) from either order of axes."""
        if output.shape == (1, self.keypoint_count, bins):
            return output[0]
        if output.shape == (1, bins, self.keypoint_count):
            return output[0].T
        return None
