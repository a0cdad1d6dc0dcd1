"""What is true about persons in a picture: from the camera's geometry and from the depth buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.canvas import SUPERSAMPLING, Canvas
from edgepose.host.synthetic.joints import Vector

# How far below the visible surface a keypoint may lie and still count as seen, in body heights: COCO's limb
# keypoints are inside the body, those of the face on it.
_SEEN_DEPTH = np.array(
    [0.02] * 3 + [0.03] * 2 + [0.065] * 2 + [0.05] * 4 + [0.1] * 2 + [0.065] * 2 + [0.05] * 2
)


@dataclass(frozen=True)
class PersonTruth:
    """Labels of one person; see ``Scene`` for the conventions."""

    keypoints_px: NDArray[np.float32]
    visibility: NDArray[np.int64]
    box_xyxy_px: NDArray[np.float32]
    area_px2: float


def person_truth(
    canvas: Canvas, owner: int, keypoints: tuple[Vector, Vector], height_m: float
) -> PersonTruth:
    """Labels of one person.

    Args:
        canvas: Everything drawn.
        owner: The person's index in it.
        keypoints: In the picture (17, 2) and in the camera's space (17, 3).
        height_m: The person's height.
    """
    points_px, points_m = keypoints
    rows, columns = np.nonzero(canvas.owner == owner)
    box = np.zeros(4)
    if rows.size:
        box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    visibility = _visibility(canvas, owner, points_px, points_m[:, 2] - _SEEN_DEPTH * height_m)
    return PersonTruth(
        points_px.astype(np.float32),
        visibility,
        (box / SUPERSAMPLING).astype(np.float32),
        len(rows) / SUPERSAMPLING**2,
    )


def _visibility(canvas: Canvas, owner: int, points_px: Vector, nearest_m: Vector) -> NDArray[np.int64]:
    """(17,): the surface in front of a keypoint is the person's own and not nearer than ``nearest_m``."""
    height, width = canvas.owner.shape
    # The middle of the picture is the middle of the finer grid too.
    column, row = np.round((points_px + 0.5) * SUPERSAMPLING - 0.5).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    seen = (canvas.owner[row, column] == owner) & (canvas.depth_m[row, column] >= nearest_m)
    return np.where(inside, np.where(seen, 2, 1), 0).astype(np.int64)
