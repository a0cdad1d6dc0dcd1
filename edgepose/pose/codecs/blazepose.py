"""BlazePose landmark model: coordinates, visibility and presence of 39 points.

Layout as in the published pose_landmark files (MediaPipe, pose_landmark_gpu.pbtxt and its
TensorsToLandmarksCalculator options): five values a point, x, y, z in input pixels, then the logits of
visibility and presence. The first 33 are the body; the rest serve MediaPipe's own tracking crop.

BlazePose's person detector: anchors, and two points that say where a person is and how turned.

Every number is from MediaPipe's ``modules/pose_detection/pose_detection_cpu.pbtxt``; the formulas are those
of ``ssd_anchors_calculator.cc``, ``tensors_to_detections_calculator.cc`` and
``non_max_suppression_calculator.cc`` (algorithm WEIGHTED).

All that MediaPipe's tracking takes from the BlazePose landmark model: refined points, two of them its own.

Numbers and formulas are those of MediaPipe's ``tensors_to_pose_landmarks_and_segmentation.pbtxt``,
``tensors_to_landmarks_calculator.cc`` and ``refine_landmarks_from_heatmap_calculator.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.boxes import iou_matrix
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

        The score of a keypoint is its visibility times the person score, so that an empty image, where
        visibility means nothing, gives low scores.
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
    """The best person of an image.

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
        """Refuses a model with other outputs."""
        for values in (_VALUES_PER_ANCHOR, 1):
            _name_of(shapes, (1, len(anchor_centres(self.input_px)), values))

    def decode_best(self, outputs: dict[str, Array]) -> PersonAlignment | None:
        """The best person, or None."""
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


BODY_POINTS = 33
# Two more, in the order of the model: between the hips, and on the circle around the whole person.
TRACKING_POINTS = 35
_MODEL_POINTS = 39
# Outputs that the tracking needs; the mask and the points in metres stay unread.
_LANDMARKS: tuple[int | None, ...] = (1, _MODEL_POINTS * _VALUES_PER_POINT)
_PERSON: tuple[int | None, ...] = (1, 1)
_HEATMAP: tuple[int | None, ...] = (1, None, None, _MODEL_POINTS)
# The default of refine_landmarks_from_heatmap_calculator.proto. The graph as published says 7, but 0.10.21
# computes with 9: its points come out to the last digit so; with 7 up to half a pixel elsewhere (measured).
_WINDOW = 9
_MIN_CONFIDENCE = 0.5
# exp of more overflows, and the sigmoid is 0 or 1 long before.
_BLAZEPOSE_TRACKING_MAX_LOGIT = 80.0


@dataclass(frozen=True)
class BlazePosePoints:
    """One person in pixels of the model's input.

    Attributes:
        points_input_px: (35, 2): 33 of the body, then the two of the tracking.
        visibility: (35,), 0 to 1.
        presence: Whether there is a person at all, 0 to 1.
    """

    points_input_px: Points
    visibility: Points
    presence: float


@dataclass(frozen=True)
class BlazePoseTrackingCodec:
    """Decodes (1, 195), a person score (1, 1) and a heatmap (1, h, w, 39)."""

    input_px: int

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Refuses a model with other outputs."""
        for wanted in (_LANDMARKS, _PERSON, _HEATMAP):
            _blazepose_tracking_name_of(shapes, wanted)

    def decode(self, outputs: dict[str, Array], min_presence: float) -> BlazePosePoints | None:
        """Decodes one person, or None where the model is less sure of one than ``min_presence``."""
        shapes = {name: value.shape for name, value in outputs.items()}
        person, rows, heatmap = (
            outputs[_blazepose_tracking_name_of(shapes, w)] for w in (_PERSON, _LANDMARKS, _HEATMAP)
        )
        require_finite(person, "person score")
        presence = float(np.clip(person[0, 0], 0, 1))
        if presence < min_presence:
            return None
        require_finite(rows, "landmarks")
        points = rows.reshape(-1, _VALUES_PER_POINT)[:TRACKING_POINTS].astype(np.float64)
        refined = refine(points[:, :2] / self.input_px, heatmap[0, :, :, :TRACKING_POINTS])
        return BlazePosePoints(refined * self.input_px, _sigmoid(points[:, 3]), presence)


def is_read(shape: tuple[int, ...]) -> bool:
    """Whether the tracking reads an output of this shape; the mask and the points in metres it does not."""
    return any(_fits(shape, wanted) for wanted in (_LANDMARKS, _PERSON, _HEATMAP))


def refine(points: Points, heatmap: Array) -> Points:
    """Moves each point to the centre of what its heatmap says in the 9 x 9 cells around it.

    A point outside the heatmap, or with no cell of at least 0.5 around it, stays.

    Args:
        points: (K, 2), fractions of the input, x then y.
        heatmap: (h, w, K), logits.

    Returns:
        (K, 2) float64.

    Raises:
        ModelError: The heatmap holds NaN there.
    """
    size = np.array([heatmap.shape[1], heatmap.shape[0]])
    # Towards zero, as a cast to int does: a point just left of or above the map counts as in it.
    cells = np.trunc(np.clip(points * size, -1e6, 1e6)).astype(np.intp)
    steps = np.arange(_WINDOW) - _WINDOW // 2
    columns, rows = cells[:, :1] + steps, cells[:, 1:] + steps
    # (K, 9, 9): row, column. What lies outside weighs nothing.
    picked = heatmap[
        np.clip(rows, 0, size[1] - 1)[:, :, None],
        np.clip(columns, 0, size[0] - 1)[:, None, :],
        np.arange(len(points))[:, None, None],
    ]
    # Only what is looked at: the whole heatmap has 160,000 values.
    require_finite(picked, "heatmaps")
    inside = ((rows >= 0) & (rows < size[1]))[:, :, None] & ((columns >= 0) & (columns < size[0]))[:, None, :]
    weights = np.where(inside, _sigmoid(picked.astype(np.float64)), 0.0)
    total = weights.sum(axis=(1, 2))
    in_map = np.all((cells >= 0) & (cells < size), axis=1)
    moves = in_map & (weights.max(axis=(1, 2)) >= _MIN_CONFIDENCE)
    divisor = np.where(moves, total, 1.0)
    x = (weights.sum(axis=1) * columns).sum(axis=1) / divisor / size[0]
    y = (weights.sum(axis=2) * rows).sum(axis=1) / divisor / size[1]
    return np.where(moves[:, None], np.stack([x, y], axis=1), points)


def _sigmoid(logits: Points) -> Points:
    return np.asarray(
        1 / (1 + np.exp(-np.clip(logits, -_BLAZEPOSE_TRACKING_MAX_LOGIT, _BLAZEPOSE_TRACKING_MAX_LOGIT)))
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in {None, s} for w, s in zip(wanted, shape, strict=True))


def _blazepose_tracking_name_of(shapes: dict[str, tuple[int, ...]], wanted: tuple[int | None, ...]) -> str:
    """The one output of a shape, in which None stands for any size."""
    found = [name for name, shape in shapes.items() if _fits(shape, wanted)]
    if len(found) != 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        expected = ", ".join("any" if size is None else str(size) for size in wanted)
        raise ModelError(
            f"BlazePose's landmark model has one output ({expected}); this model gives {given}.",
            "Give pose_landmark_full.tflite, or its lite or heavy sister.",
        )
    return found[0]
