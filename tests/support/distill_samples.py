"""A sample cache in memory, made without pictures of anybody, for training of a few steps."""

from __future__ import annotations

import numpy as np

from edgepose.host.distill.sample_cache import CROP_BOX_SCALE, SampleCache
from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign
from edgepose.pose.codecs.heatmap import HeatmapCodec
from edgepose.pose.transform import crop_transform

TINY = StudentDesign("tiny", (48, 64), 4, (8, 8), (0, 1), (8,))
TEACHER_INPUT_WH, TEACHER_MAP_WH = (96, 128), (24, 32)


def sample_cache(persons: int = 6, seed: int = 0, *, teacher: bool = True) -> SampleCache:
    """Persons of noise whose labels and teacher's maps agree exactly."""
    rng = np.random.default_rng(seed)
    count = STUDENT_SKELETON.keypoint_count
    crop_wh = (80, 107)
    boxes = np.tile([20.0, 30.0, 80.0, 120.0], (persons, 1)) + rng.uniform(-5, 5, (persons, 1))
    keypoints = rng.uniform(0.1, 0.9, (persons, count, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    keypoints += boxes[:, None, :2]
    crops, cells, maps = [], [], []
    for box, points in zip(boxes, keypoints, strict=True):
        crop = crop_transform(box, crop_wh, CROP_BOX_SCALE)
        crops.append((*crop.scale_xy, *crop.offset_xy))
        view = crop_transform(box, TEACHER_INPUT_WH, 1.25)
        cells.append(np.array([*view.scale_xy, *view.offset_xy]) / 4)
        maps.append(teacher_maps(view.to_input(points).astype(np.float32)))
    stored = np.stack(maps) if teacher else np.zeros((persons, 0, 1, 1, 4), np.uint8)
    return SampleCache(
        crops=rng.integers(0, 256, (persons, crop_wh[1], crop_wh[0], 3), dtype=np.uint8),
        maps=stored,
        crop_maps=np.array(crops),
        cell_maps=np.array(cells),
        boxes_px=boxes,
        labels_px=keypoints,
        labelled=np.ones((persons, count), bool),
        teacher_px=keypoints.copy() if teacher else np.zeros_like(keypoints),
        teacher_scores=np.full((persons, count), 0.9 if teacher else 0.0, np.float32),
        sources=np.zeros(persons, np.int64),
    )


def teacher_maps(keypoints_input_px: np.ndarray, sigma_cells: float = 2.0) -> np.ndarray:
    """(G, h, w, 4) uint8, as the cache stores them."""
    codec = HeatmapCodec(len(keypoints_input_px), TEACHER_INPUT_WH)
    visible = np.ones(len(keypoints_input_px), bool)
    maps = codec.encode(keypoints_input_px, visible, TEACHER_MAP_WH, sigma_cells)
    stored = np.rint(maps * 255).astype(np.uint8)
    groups = -(-len(stored) // 4)
    stored = np.pad(stored, ((0, groups * 4 - len(stored)), (0, 0), (0, 0)))
    return np.ascontiguousarray(stored.reshape(groups, 4, *stored.shape[1:]).transpose(0, 2, 3, 1))
