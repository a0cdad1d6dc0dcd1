"""Batches and their targets as a function of (seed, step): the same on every machine, after every restart.

Plain numpy and OpenCV in threads, no framework: the next batches are made while the network learns from
this one. A target is the teacher's maps, moved along with the view and blended with the labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.distill.augmentation import (
    Affine,
    AugmentationSettings,
    Subject,
    View,
    apply_affine,
    compose,
    inverse,
    random_view,
    recolour,
)
from edgepose.host.distill.peers import Share
from edgepose.host.distill.sample_cache import SampleCache
from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign
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


def cached_trust(cache: SampleCache, index: int) -> NDArray[np.float32]:
    """``label_trust`` of a cached person: (K,) in [0, 1]."""
    return label_trust(
        cache.labels_px[index],
        cache.labelled[index],
        cache.teacher_px[index],
        cache.teacher_scores[index],
        cache.boxes_px[index],
        STUDENT_SKELETON,
    )


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


_AHEAD = 3
_CERTAIN_SCORE = 0.3


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's samples, or one process's share of them.

    Attributes:
        pictures: (N, H, W, 3) uint8.
        targets: (N, 1 + h * w, K) float32: row 0 holds the weights, the others the flattened maps.
    """

    pictures: NDArray[np.uint8]
    targets: NDArray[np.float32]


@dataclass(frozen=True)
class BatchSettings:
    """What a batch is."""

    size: int
    seed: int
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    share: Share = field(default_factory=Share)


class Batches(Protocol):
    """What a training loop learns from."""

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Batches from a step on, the same for the same step."""
        ...


def made_ahead(make: Callable[[int], Batch], first_step: int) -> Iterator[Batch]:
    """Batches from a step on, the next ones made by a thread while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        step = first_step
        try:
            while True:
                while len(waiting) < _AHEAD:
                    waiting.append(pool.submit(make, step))
                    step += 1
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class BatchSource:
    """Makes batches from a cache."""

    def __init__(self, cache: SampleCache, design: StudentDesign, settings: BatchSettings) -> None:
        self._cache, self._design, self._settings = cache, design, settings
        self._codec = HeatmapCodec(STUDENT_SKELETON.keypoint_count, design.input_wh)
        self._chances = sampling_chances(cache.sources)
        self._trust = np.stack([cached_trust(cache, index) for index in range(len(cache))])

    def batch(self, step: int) -> Batch:
        """The batch of a step: this process's share of it."""
        chosen = self._choose(step)
        places = self._settings.share.places(len(chosen))
        samples = [self._sample(int(chosen[place]), (step, place)) for place in places]
        return Batch(
            np.stack([image for image, _ in samples]), np.stack([packed(target) for _, target in samples])
        )

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Batches from a step on, made ahead by a thread."""
        return made_ahead(self.batch, first_step)

    def _choose(self, step: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._settings.seed, step])
        return rng.choice(len(self._cache), self._settings.size, p=self._chances)

    def _sample(self, index: int, place: tuple[int, int]) -> tuple[NDArray[np.uint8], Target]:
        # 1 keeps these generators apart from those that choose.
        rng = np.random.default_rng([self._settings.seed, *place, 1])
        cache, design, settings = self._cache, self._design, self._settings
        labelled = cache.labelled[index]
        known = labelled | (cache.teacher_scores[index] >= _CERTAIN_SCORE)
        keypoints = np.where(labelled[:, None], cache.labels_px[index], cache.teacher_px[index])
        box = cache.boxes_px[index]
        view = random_view(
            Subject(box, keypoints, known), design.input_wh, settings.augmentation, rng, STUDENT_SKELETON
        )
        image = self._picture(index, view)
        return recolour(image, settings.augmentation, rng), self._target(index, view)

    def _picture(self, index: int, view: View) -> NDArray[np.uint8]:
        from_crop = compose(view.matrix, inverse(axis_aligned(self._cache.crop_maps[index])))
        crop = np.asarray(self._cache.crops[index])
        return np.asarray(cv2.warpAffine(crop, from_crop, self._design.input_wh, flags=cv2.INTER_LINEAR))

    def _target(self, index: int, view: View) -> Target:
        cache, design = self._cache, self._design
        count, map_wh = STUDENT_SKELETON.keypoint_count, design.map_wh
        trust, scores = self._trust[index], cache.teacher_scores[index]
        keypoints = to_input(view, cache.labels_px[index])
        shown = (trust > 0) & inside(keypoints, design.input_wh)
        hard = rendered_labels(keypoints, shown, self._codec, map_wh, design.sigma_cells)
        soft = None
        if cache.has_teacher:
            cell_px = (design.input_wh[0] / map_wh[0], design.input_wh[1] / map_wh[1])
            matrix = cells_to_cells(view, cache.cell_maps[index], cell_px)
            soft = warp_maps(cache.maps[index], matrix, map_wh, count)
        target = blend(soft, hard, trust, scores, self._settings.target)
        return flipped(target) if view.mirrored else target


def flipped(target: Target) -> Target:
    """Left and right change places: the maps were mirrored already, the names follow."""
    order = STUDENT_SKELETON.flip_permutation
    return Target(np.ascontiguousarray(target.maps[:, :, order]), target.weights[order])


def packed(target: Target) -> NDArray[np.float32]:
    """(1 + h * w, K): weights and maps in one array, as a loss in Keras takes one."""
    count = target.maps.shape[-1]
    return np.concatenate([target.weights[None], target.maps.reshape(-1, count)])


def sampling_chances(sources: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each person is drawn: a folder in proportion to the root of its size.

    A small folder of the images that matter must not drown in a large one of others, nor be repeated so
    often that it is learned by heart.

    Returns:
        (N,), sum 1.
    """
    _, which, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    shares = np.sqrt(sizes) / np.sqrt(sizes).sum()
    return np.asarray((shares / sizes)[which])
