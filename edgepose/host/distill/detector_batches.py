"""Batches of whole images for the detector student, what it should answer in them, and how wrong it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.distill.augmentation import AugmentationSettings, recolour
from edgepose.host.distill.batches import Batch, made_ahead, sampling_chances
from edgepose.host.distill.detector_images import PAD_VALUE, PictureCache, TeachingPictures
from edgepose.host.distill.students import StudentDesign
from edgepose.pose.codecs.center import LOGIT_SCALE, CenterCodec

# Columns of a packed target, one row a cell.
HEAT, HEAT_WEIGHT, BOX_WEIGHT, BOX = 0, 1, 2, slice(3, 7)
COLUMNS = 7
# A Gaussian of this share of the box's sides, so that its 0.6 lies about where a shifted box has IoU 0.7.
_SIGMA_OF_SIDE = 0.12
_SMALLEST_SIGMA_CELLS = 0.6
_NEAR = 0.5

Boxes = NDArray[np.float64]


def packed_target(
    boxes_input_px: Boxes, unsure_input_px: Boxes, codec: CenterCodec, map_wh: tuple[int, int]
) -> NDArray[np.float32]:
    """Target of one view.

    Args:
        boxes_input_px: (N, 4), persons.
        unsure_input_px: (M, 4): cells in there teach nothing about where centres are.
        codec: Its ``encode`` says what a cell must answer.
        map_wh: Size of the maps.

    Returns:
        (h * w, 7) float32: how near a centre is (1 at its cell), whether that counts, whether the box
        counts, and the box as the codec has it.
    """
    width, height = map_wh
    target = np.zeros((height, width, COLUMNS), np.float32)
    target[..., HEAT_WEIGHT] = 1
    cell_px = np.array([codec.input_wh[0] / width, codec.input_wh[1] / height])
    for low_x, low_y, high_x, high_y in unsure_input_px / np.tile(cell_px, 2):
        rows = slice(max(int(low_y), 0), max(int(np.ceil(high_y)), 0))
        target[rows, max(int(low_x), 0) : max(int(np.ceil(high_x)), 0), HEAT_WEIGHT] = 0
    # Large ones first: where two persons meet, the smaller one owns the cell.
    sides = (boxes_input_px[:, 2:] - boxes_input_px[:, :2]).prod(axis=1)
    for box in boxes_input_px[np.argsort(-sides, kind="stable")]:
        _add(target, box, codec, cell_px)
    return target.reshape(-1, COLUMNS)


def _add(target: Any, box: Boxes, codec: CenterCodec, cell_px: NDArray[np.float64]) -> None:
    height, width = target.shape[:2]
    centre = (box[:2] + box[2:]) / 2 / cell_px
    sigma = np.maximum((box[2:] - box[:2]) / cell_px * _SIGMA_OF_SIDE, _SMALLEST_SIGMA_CELLS)
    own = np.minimum(np.maximum(centre.astype(int), 0), [width - 1, height - 1])
    # Measured from the owning cell, so that exactly one cell is 1.
    across = np.exp(-(((np.arange(width) - own[0]) / sigma[0]) ** 2) / 2)
    down = np.exp(-(((np.arange(height) - own[1]) / sigma[1]) ** 2) / 2)
    near = np.outer(down, across)
    rows, columns = np.nonzero((near >= _NEAR) & (near >= target[..., BOX_WEIGHT]))
    target[..., HEAT] = np.maximum(target[..., HEAT], near)
    target[own[1], own[0], HEAT_WEIGHT] = 1
    cells = np.stack([columns, rows], axis=-1)
    encoded = codec.encode(np.repeat(box[None], len(cells), axis=0), cells, (width, height))
    target[rows, columns, BOX] = encoded
    target[rows, columns, BOX_WEIGHT] = near[rows, columns]


# Standard deviation of the logarithm of the zoom, its limits, and the shift as a part of the image.
_LOG_ZOOM, _ZOOM_LIMITS, _SHIFT = 0.3, (0.5, 1.8), 0.2
# A box cut by the border to less than this share of its area is no one's any more, nor background.
_LEAST_SEEN = 0.3
_SMALLEST_PX = 6.0


@dataclass(frozen=True)
class PictureView:
    """How the student sees a picture: ``scale * x + offset`` from image pixels to input pixels.

    Attributes:
        scale_xy: Negative along x where the view is mirrored.
        offset_xy: In input pixels.
    """

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def boxes(self, boxes_px: Boxes) -> Boxes:
        """(N, 4) in input pixels, not cut."""
        corners = boxes_px.reshape(-1, 2, 2) * self.scale_xy + self.offset_xy
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


class DetectorBatches:
    """Makes batches from a cache."""

    def __init__(
        self, cache: PictureCache, data: TeachingPictures, design: StudentDesign, size: int, seed: int
    ) -> None:
        self._cache, self._pictures, self._design = cache, data.pictures, design
        self._size, self._seed = size, seed
        self._codec = CenterCodec(design.input_wh)
        self._chances = sampling_chances(np.array([image.source for image in data.pictures], np.int64))
        self._colours = AugmentationSettings(occlusion_share=0.1)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._pictures), self._size, p=self._chances)
        samples = [self._sample(int(index), (step, place)) for place, index in enumerate(chosen)]
        images, targets = zip(*samples, strict=True)
        return Batch(np.stack(images), np.stack(targets))

    def stream(self, first_step: int) -> Iterator[Batch]:
        """Batches from a step on, made ahead by a thread."""
        return made_ahead(self.batch, first_step)

    def _sample(self, index: int, place: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self._seed, *place, 1])
        size = self._cache.sizes_wh[index]
        view = random_view(int(size[0]), int(size[1]), self._design.input_wh, rng)
        image = recolour(self._seen(index, view), self._colours, rng)
        entry = self._pictures[index]
        persons, cut = visible_boxes(view.boxes(entry.boxes_px), self._design.input_wh)
        unsure = np.concatenate([view.boxes(entry.unsure_px), cut])
        return image, packed_target(persons, unsure, self._codec, self._design.map_wh)

    def _seen(self, index: int, view: PictureView) -> NDArray[np.uint8]:
        sx, sy, ox, oy = self._cache.to_cache[index]
        scale = np.array(view.scale_xy) / (sx, sy)
        offset = np.array(view.offset_xy) - scale * (ox, oy)
        # Coordinates count from a pixel's edge, the resizer's from its centre.
        matrix = np.column_stack([np.diag(scale), offset + (scale - 1) / 2])
        crop = np.asarray(self._cache.pictures[index])
        flat = (PAD_VALUE,) * 3
        size = self._design.input_wh
        return np.asarray(cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR, borderValue=flat))


def random_view(
    width_px: int, height_px: int, input_wh: tuple[int, int], rng: np.random.Generator
) -> PictureView:
    """Draws a zoom, a shift and whether to mirror."""
    fit = min(input_wh[0] / width_px, input_wh[1] / height_px)
    zoom = float(np.clip(np.exp(rng.normal(0, _LOG_ZOOM)), *_ZOOM_LIMITS))
    scale = fit * zoom
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * (width_px, height_px)
    mirrored = bool(rng.random() < 0.5)
    centre = np.array([width_px, height_px]) / 2 + shift
    scale_xy = (-scale if mirrored else scale, scale)
    offset = np.array(input_wh) / 2 - centre * scale_xy
    return PictureView(scale_xy, (float(offset[0]), float(offset[1])))


def visible_boxes(boxes_input_px: Boxes, input_wh: tuple[int, int]) -> tuple[Boxes, Boxes]:
    """Cuts boxes at the border.

    Returns:
        (N, 4) of whom enough is seen, and (M, 4) of whom something is seen, but not enough.
    """
    limits = np.tile(input_wh, 2)
    inside = np.clip(boxes_input_px, 0, limits)
    area = (boxes_input_px[:, 2:] - boxes_input_px[:, :2]).prod(axis=1)
    sides = inside[:, 2:] - inside[:, :2]
    seen = sides.prod(axis=1)
    enough = (seen >= _LEAST_SEEN * area) & (sides.min(axis=1, initial=np.inf) >= _SMALLEST_PX)
    return inside[enough], inside[~enough & (seen > 0)]


# CornerNet's penalty-reduced focal loss (Law and Deng 2018, alpha 2, beta 4), as CenterNet uses it.
_FOCUS = 2.0
_SPARED = 4.0
_BOX_SHARE = 2.0
_TINY = 1e-6


def center_loss(packed: Any, maps: Any) -> Any:
    """How wrong centres and boxes are, a person.

    Args:
        packed: (N, h * w, 7) from ``packed_target``.
        maps: (N, h, w, 5) of the student.
    """
    from keras import ops

    answers = ops.reshape(ops.cast(maps, "float32"), (ops.shape(packed)[0], ops.shape(packed)[1], 5))
    logits = LOGIT_SCALE * answers[..., 0]
    chance = ops.sigmoid(logits)
    heat, counts = packed[..., HEAT], packed[..., HEAT_WEIGHT]
    here = ops.cast(heat >= 1.0 - _TINY, "float32")
    # log(sigmoid) by softplus stays finite however sure the student is.
    found = here * ops.power(1.0 - chance, _FOCUS) * ops.softplus(-logits)
    others = (1.0 - here) * ops.power(1.0 - heat, _SPARED)
    imagined = others * ops.power(chance, _FOCUS) * ops.softplus(logits)
    apart = ops.sum(ops.abs(answers[..., 1:] - packed[..., BOX]), axis=-1)
    persons = ops.maximum(ops.sum(here), 1.0)
    boxes = ops.sum(packed[..., BOX_WEIGHT] * apart) / ops.maximum(ops.sum(packed[..., BOX_WEIGHT]), 1.0)
    return ops.sum(counts * (found + imagined)) / persons + _BOX_SHARE * boxes
