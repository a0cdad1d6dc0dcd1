"""What a zoo model is fitted on: marker scenes as model inputs, with their keypoints in input pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.codecs.heatmap import HeatmapCodec
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.preprocess import Preprocessor, expected_shape
from tests.support.marker_scene import marker_scene

KEYPOINTS = 17
# Far from the seeds of the data folders that tests write (1000 * seed + index).
_FIRST_SEED = 900_000


@dataclass(frozen=True, eq=False)
class Lessons:
    """Sample inputs with their answers.

    Attributes:
        inputs: (1, 3, H, W) or (1, H, W, 3) float32 each.
        keypoints_input_px: (17, 2) each.
        boxes_xyxy_input_px: (4,) each.
        input_wh: Size of the input.
    """

    inputs: list[NDArray[np.float32]]
    keypoints_input_px: list[NDArray[np.float64]]
    boxes_xyxy_input_px: list[NDArray[np.float64]]
    input_wh: tuple[int, int]

    def heatmaps(self, map_wh: tuple[int, int], sigma: float = 1.3) -> list[NDArray[np.float32]]:
        """Gaussian targets (1, 17, h, w) each; ``sigma`` in cells."""
        codec = HeatmapCodec(KEYPOINTS, self.input_wh)
        everywhere = np.ones(KEYPOINTS, bool)
        return [
            codec.encode(points.astype(np.float32), everywhere, map_wh, sigma)[None]
            for points in self.keypoints_input_px
        ]


def marker_lessons(spec: ModelSpec, count: int, seed: int) -> Lessons:
    """Draws ``count`` scenes of one figure and puts them through the real preprocessing."""
    shape = expected_shape(spec.input)
    preprocessor = Preprocessor(spec.input, TensorInfo("image", shape, np.dtype(np.float32)))
    inputs: list[Any] = []
    keypoints, boxes = [], []
    for index in range(count):
        scene = marker_scene(_FIRST_SEED + 1000 * seed + index)
        box = scene.boxes_xyxy_px[0]
        transform = preprocessor.transform_for(scene.image, box)
        tensor = np.zeros(shape, np.float32)
        preprocessor.write(scene.image, transform, tensor)
        inputs.append(tensor)
        keypoints.append(transform.to_input(scene.keypoints_px[0]))
        boxes.append(transform.to_input(box.reshape(2, 2)).ravel())
    return Lessons(inputs, keypoints, boxes, spec.input.size_wh)
