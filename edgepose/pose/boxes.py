"""Axis-aligned boxes: xyxy in pixels, float, corner to corner."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iou_matrix(first_xyxy: ArrayLike, second_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every pair.

    Args:
        first_xyxy: (N, 4).
        second_xyxy: (M, 4).

    Returns:
        (N, M) in [0, 1]; 0 where both boxes are empty.
    """
    first = np.asarray(first_xyxy, dtype=np.float64).reshape(-1, 1, 4)
    second = np.asarray(second_xyxy, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_first = np.prod(np.clip(first[..., 2:] - first[..., :2], 0, None), axis=-1)
    area_second = np.prod(np.clip(second[..., 2:] - second[..., :2], 0, None), axis=-1)
    union = area_first + area_second - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def non_maximum_suppression(
    boxes_xyxy: NDArray[np.floating], scores: NDArray[np.floating], max_iou: float, keep_at_most: int
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,).
        max_iou: A box is dropped when it overlaps a better one by more than this.
        keep_at_most: Upper bound on the number of kept boxes.

    Returns:
        Indices of the kept boxes, best score first; equal scores keep their order.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < keep_at_most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlaps = iou_matrix(boxes_xyxy[best], boxes_xyxy[rest])[0]
        order = rest[overlaps <= max_iou]
    return np.asarray(kept, dtype=np.intp)


def grow_to_aspect(
    box_xyxy: ArrayLike, aspect_w_over_h: float, scale: float
) -> tuple[float, float, float, float]:
    """Grows a box to an aspect ratio, then scales it about its centre.

    The crop of the top-down convention (Xiao et al. 2018, "Simple Baselines"): the short side grows, so
    nothing of the box is cut; then both sides are multiplied by ``scale``.

    Args:
        box_xyxy: (4,).
        aspect_w_over_h: Width over height of the result.
        scale: Factor on both sides, for example 1.25.

    Returns:
        xyxy, never empty: a degenerate side becomes at least one pixel.
    """
    # Plain floats: on four numbers they are ten times as fast as arrays, and this runs for every frame.
    x0, y0, x1, y1 = np.asarray(box_xyxy, dtype=np.float64).tolist()
    width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    if width > aspect_w_over_h * height:
        height = width / aspect_w_over_h
    else:
        width = height * aspect_w_over_h
    half_x, half_y = width * (scale / 2), height * (scale / 2)
    centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
    return centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y


def enclosing_box(
    keypoints_px: NDArray[np.floating], keypoint_scores: NDArray[np.floating], min_score: float
) -> NDArray[np.float32] | None:
    """The tight box around the keypoints whose score is at least ``min_score``.

    Args:
        keypoints_px: (K, 2).
        keypoint_scores: (K,).
        min_score: Keypoints below are left out.

    Returns:
        (4,) xyxy, or None when fewer than two keypoints remain.
    """
    points = keypoints_px[keypoint_scores >= min_score]
    if len(points) < 2:
        return None
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)
