"""BlazePose's person detector: anchors, and two points that say where a person is and how turned.

Every number is from MediaPipe's ``modules/pose_detection/pose_detection_cpu.pbtxt``; the formulas are those
of ``ssd_anchors_calculator.cc``, ``tensors_to_detections_calculator.cc`` and
``non_max_suppression_calculator.cc`` (algorithm WEIGHTED).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.codecs.codec import Array, require_finite

Points = NDArray[np.float64]

# Stride in pixels and anchors a cell: two for each of five layers, of which the last three share a stride.
_LAYERS = ((8, 2), (16, 2), (32, 6))
# x, y, width, height (of the face, which only tells persons apart here), then four points (x, y).
_VALUES_PER_ANCHOR = 12
_FIRST_POINT = 4
# score_clipping_thresh.
_MAX_LOGIT = 100.0


@dataclass(frozen=True)
class PersonAlignment:
    """The best person of a picture.

    Attributes:
        centre_input_px: Between the hips, (x, y) in pixels of the input.
        above_input_px: On the circle around the whole person, in the direction of the head.
        score: 0 to 1.
    """

    centre_input_px: tuple[float, float]
    above_input_px: tuple[float, float]
    score: float


@dataclass(frozen=True)
class BlazePoseDetectorCodec:
    """Decodes (1, N, 12) and (1, N, 1): a box and four points for each of N anchors, and a logit.

    Attributes:
        input_px: Side of the square input in pixels.
        score_threshold: Persons below are not seen.
        nms_iou: Boxes that overlap the best one by more are averaged with it, weighted by their scores.
    """

    input_px: int
    score_threshold: float = 0.5
    nms_iou: float = 0.3

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Refuses a model with other outputs.

        Args:
            shapes: Shape of each output, by name.

        Raises:
            ModelError: An output is missing or has a wrong shape.
        """
        for values in (_VALUES_PER_ANCHOR, 1):
            _name_of(shapes, (1, len(anchor_centres(self.input_px)), values))

    def decode_best(self, outputs: dict[str, Array]) -> PersonAlignment | None:
        """The best person, or None.

        Raises:
            ModelError: An output is missing, has a wrong shape or holds NaN.
        """
        anchors = anchor_centres(self.input_px)
        shapes = {name: value.shape for name, value in outputs.items()}
        rows = outputs[_name_of(shapes, (1, len(anchors), _VALUES_PER_ANCHOR))][0]
        logits = outputs[_name_of(shapes, (1, len(anchors), 1))][0, :, 0]
        require_finite(rows, "boxes")
        require_finite(logits, "scores")
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)))
        seen = np.nonzero(scores >= self.score_threshold)[0]
        if not len(seen):
            return None
        return self._best(rows[seen].astype(np.float64), anchors[seen] * self.input_px, scores[seen])

    def _best(self, rows: Points, anchors_px: Points, scores: Points) -> PersonAlignment:
        best = int(np.argmax(scores))
        centres, half = rows[:, :2] + anchors_px, rows[:, 2:4] / 2
        boxes = np.concatenate([centres - half, centres + half], axis=1)
        same = iou_matrix(boxes[best], boxes)[0] > self.nms_iou
        same[best] = True
        points = rows[:, _FIRST_POINT : _FIRST_POINT + 4].reshape(-1, 2, 2) + anchors_px[:, None]
        (centre, above) = np.average(points[same], axis=0, weights=scores[same]).tolist()
        return PersonAlignment((centre[0], centre[1]), (above[0], above[1]), float(scores[best]))


@cache
def anchor_centres(input_px: int) -> Points:
    """Centres of the anchors, (N, 2), x then y, as fractions of the input; all have the size 1.

    Layer by layer, row by row, cell by cell; 2,254 for an input of 224 pixels.
    """
    layers = []
    for stride, anchors_per_cell in _LAYERS:
        cells = -(-input_px // stride)
        ticks = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(ticks, ticks)
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), anchors_per_cell, axis=0))
    return np.concatenate(layers)


def _name_of(shapes: dict[str, tuple[int, ...]], wanted: tuple[int, ...]) -> str:
    found = [name for name, shape in shapes.items() if shape == wanted]
    if len(found) != 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ModelError(
            f"BlazePose's detector has one output {wanted}; this model gives {given}.",
            "Give pose_detection.tflite.",
        )
    return found[0]
