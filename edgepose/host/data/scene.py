"""A picture with everything that is true about the persons in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scene:
    """A generated picture and its exact labels, COCO-17 order.

    Pixel centres have whole coordinates: (0, 0) is the centre of the first pixel.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        keypoints_px: float32 (N, 17, 2), x then y.
        visible: bool (N, 17), False where something hides the keypoint; its position is exact anyway.
        boxes_xyxy_px: float32 (N, 4), tight around the whole silhouette, hidden parts included.
        areas_px2: float32 (N,), pixels of the whole silhouette.
    """

    image: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    boxes_xyxy_px: NDArray[np.float32]
    areas_px2: NDArray[np.float32]

    @property
    def persons(self) -> int:
        """Number of persons N."""
        return len(self.areas_px2)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the picture in pixels."""
        return self.image.shape[1], self.image.shape[0]
