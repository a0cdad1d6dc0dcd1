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
        keypoints_px: float32 (N, 17, 2), x then y, exact wherever the keypoint is, outside the picture too.
        visibility: int64 (N, 17), COCO's: 0 outside the picture, 1 hidden by something, 2 seen.
        boxes_xyxy_px: float32 (N, 4), tight around what is seen, as in COCO; zeros where nothing is.
        areas_px2: float32 (N,), what is seen.
        person_ids: int64 (N,), the same person has the same number in all frames of a clip.
        activities: What each person does, N names.
    """

    image: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visibility: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float32]
    areas_px2: NDArray[np.float32]
    person_ids: NDArray[np.int64]
    activities: tuple[str, ...]

    @property
    def persons(self) -> int:
        """Number of persons N."""
        return len(self.areas_px2)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N, 17), where a keypoint is seen."""
        return self.visibility == 2

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the picture in pixels."""
        return self.image.shape[1], self.image.shape[0]
