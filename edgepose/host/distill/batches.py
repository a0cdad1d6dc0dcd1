"""Batches as a function of (seed, step): the same on every machine, after every restart.

Plain numpy and OpenCV in threads, no framework: the next batches are made while the network learns from
this one.
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
    AugmentationSettings,
    Subject,
    View,
    compose,
    inverse,
    random_view,
    recolour,
)
from edgepose.host.distill.peers import Share
from edgepose.host.distill.sample_cache import SampleCache
from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign
from edgepose.host.distill.targets import (
    Target,
    TargetSettings,
    axis_aligned,
    blend,
    cells_to_cells,
    inside,
    label_trust,
    rendered_labels,
    to_input,
    warp_maps,
)
from edgepose.pose.codecs.heatmap import HeatmapCodec

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
    """What a batch is.

    Attributes:
        size: Samples.
        seed: Of everything random.
        augmentation: How views vary.
        target: How teacher and labels share a target.
        share: This process's part of every batch; all of it by default.
    """

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
    """Makes batches from a cache.

    Args:
        cache: The samples.
        design: The student.
        settings: What a batch is.
    """

    def __init__(self, cache: SampleCache, design: StudentDesign, settings: BatchSettings) -> None:
        self._cache, self._design, self._settings = cache, design, settings
        self._codec = HeatmapCodec(STUDENT_SKELETON.keypoint_count, design.input_wh)
        self._chances = sampling_chances(cache.sources)
        self._trust = np.stack([self._trust_of(index) for index in range(len(cache))])

    def batch(self, step: int) -> Batch:
        """The batch of a step: this process's share of it."""
        chosen = self._choose(step)
        places = self._settings.share.places(len(chosen))
        samples = [self._sample(int(chosen[place]), (step, place)) for place in places]
        return Batch(
            np.stack([picture for picture, _ in samples]),
            np.stack([packed(target) for _, target in samples]),
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
        picture = self._picture(index, view)
        return recolour(picture, settings.augmentation, rng), self._target(index, view)

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

    def _trust_of(self, index: int) -> NDArray[np.float32]:
        cache = self._cache
        return label_trust(
            cache.labels_px[index],
            cache.labelled[index],
            cache.teacher_px[index],
            cache.teacher_scores[index],
            cache.boxes_px[index],
            STUDENT_SKELETON,
        )


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

    A small folder of the pictures that matter must not drown in a large one of others, nor be repeated so
    often that it is learned by heart.

    Returns:
        (N,), sum 1.
    """
    _, which, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    shares = np.sqrt(sizes) / np.sqrt(sizes).sum()
    return np.asarray((shares / sizes)[which])
