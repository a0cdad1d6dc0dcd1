"""All that MediaPipe's tracking takes from the BlazePose landmark model: refined points, two of them its own.

Numbers and formulas are those of MediaPipe's ``tensors_to_pose_landmarks_and_segmentation.pbtxt``,
``tensors_to_landmarks_calculator.cc`` and ``refine_landmarks_from_heatmap_calculator.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import Array, require_finite

Points = NDArray[np.float64]

BODY_POINTS = 33
# Two more, in the order of the model: between the hips, and on the circle around the whole person.
TRACKING_POINTS = 35
_MODEL_POINTS = 39
_VALUES_PER_POINT = 5
# Outputs that the tracking needs; the mask and the points in metres stay unread.
_LANDMARKS: tuple[int | None, ...] = (1, _MODEL_POINTS * _VALUES_PER_POINT)
_PERSON: tuple[int | None, ...] = (1, 1)
_HEATMAP: tuple[int | None, ...] = (1, None, None, _MODEL_POINTS)
# The default of refine_landmarks_from_heatmap_calculator.proto. The graph as published says 7, but 0.10.21
# computes with 9: its points come out to the last digit so; with 7 up to half a pixel elsewhere (measured).
_WINDOW = 9
_MIN_CONFIDENCE = 0.5
# exp of more overflows, and the sigmoid is 0 or 1 long before.
_MAX_LOGIT = 80.0


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
    """Decodes (1, 195), a person score (1, 1) and a heatmap (1, h, w, 39).

    Attributes:
        input_px: Side of the square input in pixels.
    """

    input_px: int

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Refuses a model with other outputs.

        Args:
            shapes: Shape of each output, by name.

        Raises:
            ModelError: An output is missing or has a wrong shape.
        """
        for wanted in (_LANDMARKS, _PERSON, _HEATMAP):
            _name_of(shapes, wanted)

    def decode(self, outputs: dict[str, Array], min_presence: float) -> BlazePosePoints | None:
        """Decodes one person, or None where the model is less sure of one than ``min_presence``.

        Raises:
            ModelError: An output is missing, has a wrong shape or holds NaN.
        """
        shapes = {name: value.shape for name, value in outputs.items()}
        person, rows, heatmap = (outputs[_name_of(shapes, w)] for w in (_PERSON, _LANDMARKS, _HEATMAP))
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
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT))))


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in {None, s} for w, s in zip(wanted, shape, strict=True))


def _name_of(shapes: dict[str, tuple[int, ...]], wanted: tuple[int | None, ...]) -> str:
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
