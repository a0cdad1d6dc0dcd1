"""What the student should answer in one view: the teacher's maps, moved along, blended with the labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.distill.augmentation import Affine, View, apply_affine, compose, inverse
from edgepose.pose.codecs.heatmap import HeatmapCodec
from edgepose.pose.skeletons import Skeleton

Maps = NDArray[np.float32]

# A teacher's silence says less than its voice: the floor is the weight of a keypoint it does not see.
_TEACHER_WEIGHT_FLOOR = 0.4
_CONFIDENT_SCORE = 0.5
# exp(-d^2 / (2 s^2 k^2)) of COCO's OKS below which label and teacher speak of different places.
_DISAGREEING_OKS = 0.1
_DISPUTED_LABEL_WEIGHT = 0.2
# COCO's objects fill about this much of their box (the project's measure for missing areas).
_AREA_OF_BOX = 0.53


@dataclass(frozen=True)
class TargetSettings:
    """How teacher and labels share a target.

    Attributes:
        label_share: Part of the target that an undisputed label takes beside a teacher, 0 to 1.
    """

    label_share: float = 0.5


@dataclass(frozen=True, eq=False)
class Target:
    """What to learn.

    Attributes:
        maps: (h, w, K) in [0, 1].
        weights: (K,), 0 where nothing is known.
    """

    maps: Maps
    weights: NDArray[np.float32]


def label_trust(
    labels_px: NDArray[np.floating],
    labelled: NDArray[np.bool_],
    teacher_px: NDArray[np.floating],
    teacher_scores: NDArray[np.floating],
    box_xyxy_px: NDArray[np.floating],
    skeleton: Skeleton,
) -> NDArray[np.float32]:
    """How far each label is believed: 0 missing, little where a confident teacher sees another place.

    Args:
        labels_px: (K, 2) in image pixels.
        labelled: (K,).
        teacher_px: (K, 2) in image pixels.
        teacher_scores: (K,); all 0 without a teacher.
        box_xyxy_px: (4,).
        skeleton: Its sigmas scale the distance, as in COCO's OKS.

    Returns:
        (K,) in [0, 1].
    """
    width, height = box_xyxy_px[2:] - box_xyxy_px[:2]
    area = max(float(width * height) * _AREA_OF_BOX, 1.0)
    squared = np.square(labels_px - teacher_px).sum(axis=-1)
    oks = np.exp(-squared / (2 * area * np.square(2 * skeleton.sigmas)))
    disputed = (oks < _DISAGREEING_OKS) & (teacher_scores >= _CONFIDENT_SCORE)
    return np.where(labelled, np.where(disputed, _DISPUTED_LABEL_WEIGHT, 1.0), 0.0).astype(np.float32)


def warp_maps(groups: NDArray[np.uint8], to_cells: Affine, map_wh: tuple[int, int], count: int) -> Maps:
    """Moves stored teacher maps.

    Args:
        groups: (G, h, w, 4) uint8.
        to_cells: (2, 3), the teacher's cells to the student's.
        map_wh: Size of the student's maps.
        count: K.

    Returns:
        (H, W, K) float32 in [0, 1], 0 outside the teacher's view.
    """
    moved = [
        cv2.warpAffine(group, to_cells, map_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        for group in groups
    ]
    return (np.concatenate(moved, axis=2)[:, :, :count] / np.float32(255)).astype(np.float32, copy=False)


def rendered_labels(
    keypoints_input_px: NDArray[np.floating],
    labelled: NDArray[np.bool_],
    codec: HeatmapCodec,
    map_wh: tuple[int, int],
    sigma_cells: float,
) -> Maps:
    """(h, w, K): Gaussians where there are labels."""
    maps = codec.encode(np.asarray(keypoints_input_px, np.float32), labelled, map_wh, sigma_cells)
    return np.ascontiguousarray(maps.transpose(1, 2, 0))


def blend(
    soft: Maps | None,
    hard: Maps,
    trust: NDArray[np.float32],
    teacher_scores: NDArray[np.floating],
    settings: TargetSettings,
) -> Target:
    """Joins the teacher's maps and the labels' Gaussians.

    Args:
        soft: (h, w, K) teacher's maps, or None for labels alone.
        hard: (h, w, K) labels' Gaussians.
        trust: (K,) from ``label_trust``.
        teacher_scores: (K,).
        settings: How they share.
    """
    if soft is None:
        return Target(hard, trust)
    share = (settings.label_share * trust).astype(np.float32)
    voice = _TEACHER_WEIGHT_FLOOR + (1 - _TEACHER_WEIGHT_FLOOR) * np.clip(teacher_scores, 0, 1)
    weights = (1 - share) * voice + share
    return Target(soft * (1 - share) + hard * share, weights.astype(np.float32))


def cells_to_cells(view: View, cell_map: NDArray[np.float64], cell_px: tuple[float, float]) -> Affine:
    """The map from the teacher's cells to the student's.

    Args:
        view: Image pixels to input pixels.
        cell_map: (4,), scale and offset from image pixels to the teacher's cells.
        cell_px: Input pixels per cell of the student, x and y.
    """
    to_teacher = axis_aligned(cell_map)
    to_student = np.diag([1 / cell_px[0], 1 / cell_px[1]]) @ view.matrix
    return compose(to_student, inverse(to_teacher))


def axis_aligned(scale_and_offset: NDArray[np.float64]) -> Affine:
    """(2, 3) from scale x, y and offset x, y."""
    sx, sy, ox, oy = scale_and_offset
    return np.array([[sx, 0.0, ox], [0.0, sy, oy]])


def inside(keypoints_input_px: NDArray[np.floating], input_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """(K,): which keypoints the view still shows."""
    return np.asarray(((keypoints_input_px >= 0) & (keypoints_input_px < np.array(input_wh))).all(axis=-1))


def to_input(view: View, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Image pixels to input pixels of a view."""
    return apply_affine(view.matrix, points_px)
