"""Draws figures in their surroundings, and what is true about them: from camera and depth buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.camera import Camera, photograph
from edgepose.host.synthetic.canvas import SUPERSAMPLING, THING, Canvas, Light, draw_solids
from edgepose.host.synthetic.figure import Figure
from edgepose.host.synthetic.skeleton import Vector
from edgepose.host.synthetic.style import Exposure
from edgepose.host.synthetic.surfaces import Plane, RoundedCone, Solid
from edgepose.host.synthetic.surroundings import Surroundings, cast_shadows, paint_surroundings

# How far below the visible surface a keypoint may lie and still count as seen, in body heights: COCO's limb
# keypoints are inside the body, those of the face on it.
_SEEN_DEPTH = np.array(
    [0.02] * 3 + [0.03] * 2 + [0.065] * 2 + [0.05] * 4 + [0.1] * 2 + [0.065] * 2 + [0.05] * 2
)
_FOLDS = 0.06


@dataclass(frozen=True)
class Scene:
    """A generated image and its exact labels, COCO-17 order.

    Pixel centres have whole coordinates: (0, 0) is the centre of the first pixel.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        keypoints_px: float32 (N, 17, 2), x then y, exact wherever the keypoint is, outside the image too.
        visibility: int64 (N, 17), COCO's: 0 outside the image, 1 hidden by something, 2 seen.
        boxes_xyxy_px: float32 (N, 4), tight around what is seen, as in COCO; zeros where nothing is.
        areas_px2: float32 (N,), what is seen.
        person_ids: int64 (N,), the same person has the same number in all frames of a clip.
        activities: What each person does, N names.
    """

    image: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visibility: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float32]
    areas_px2: NDArray[np.float32]
    person_ids: NDArray[np.int64]
    activities: tuple[str, ...]

    @property
    def persons(self) -> int:
        """Their number N."""
        return len(self.areas_px2)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N, 17), where a keypoint is seen."""
        return self.visibility == 2

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Stage:
    """Everything but the persons.

    Attributes:
        things: Furniture and what stands in front, world coordinates.
    """

    camera: Camera
    surroundings: Surroundings
    things: tuple[Solid, ...]
    lamp: Light
    exposure: Exposure

    def render(self, figures: Sequence[Figure], rng: np.random.Generator) -> Scene:
        """The image of persons with its labels; ids count from 0 in the order given."""
        canvas, size_wh = self._drawn(figures), self.camera.size_wh
        ground = self._with_shadows(figures)
        covered = (canvas.depth_m < np.inf).astype(np.float32)
        share = cv2.resize(covered, size_wh, interpolation=cv2.INTER_AREA)[..., None]
        color = cv2.resize(canvas.color, size_wh, interpolation=cv2.INTER_AREA)
        light = np.asarray(ground * (1 - share) + color * self._folds, np.float32)
        return self._labelled(photograph(light, self.exposure, rng), canvas, figures)

    @cached_property
    def _empty(self) -> tuple[Plane, NDArray[np.bool_]]:
        return paint_surroundings(self.surroundings, self.camera)

    def _drawn(self, figures: Sequence[Figure]) -> Canvas:
        solids: list[Solid] = [cone for figure in figures for cone in figure.cones]
        owners = [owner for owner, figure in enumerate(figures) for _ in figure.cones]
        things = [*self.things, *(box for figure in figures for box in figure.seat)]
        return draw_solids([*solids, *things], [*owners, *[THING] * len(things)], self.camera, self.lamp)

    @cached_property
    def _folds(self) -> Plane:
        """Folds of cloth and stains of furniture, as a factor (H, W, 1)."""
        width, height = self.camera.size_wh
        square = (max(width, height),) * 2
        noise = cv2.resize(self.surroundings.noise, square, interpolation=cv2.INTER_CUBIC)
        return np.asarray(1 + _FOLDS * noise[:height, :width], np.float32)[..., None]

    def _with_shadows(self, figures: Sequence[Figure]) -> Plane:
        empty, on_floor = self._empty
        ground = empty.copy()
        mask = np.zeros(on_floor.shape, np.float32)
        cones = [cone for figure in figures for cone in figure.cones]
        cones += [thing for thing in self.things if isinstance(thing, RoundedCone)]
        for cone in cones:
            self._shade(mask, cone)
        unit = self.camera.size_wh[1] / 240
        soft = 1.2 if self.lamp.direct > 0.5 else 4.0
        cast_shadows(ground, on_floor, mask, min(0.75 * self.lamp.direct, 0.6), soft * unit)
        return ground

    def _shade(self, mask: Plane, cone: RoundedCone) -> None:
        """Adds a cone's shadow on the ground: a thick line between the shadows of its ends."""
        towards = self.lamp.towards
        ground = cone.ends - cone.ends[:, 1:2] * towards / towards[1]
        seen = self.camera.to_camera(ground)
        if seen[:, 2].min() < 0.3:
            return
        ends = np.clip(self.camera.project(ground), -4000, 4000)
        width = self.camera.focal_px * 2 * max(cone.radii) / float(seen[:, 2].mean())
        first, second = (tuple(int(16 * value) for value in end) for end in ends)
        # Looked at from low above the ground, a ball's shadow is flat; lines have one width, so half of it.
        cv2.line(mask, first, second, 1.0, max(1, int(0.7 * width)), cv2.LINE_AA, 4)

    def _labelled(self, image: NDArray[np.uint8], canvas: Canvas, figures: Sequence[Figure]) -> Scene:
        """What is true about an image, from the camera and the depth buffer."""
        count = len(figures)
        points_px = np.zeros((count, 17, 2))
        visibility = np.zeros((count, 17), np.int64)
        boxes, areas = np.zeros((count, 4)), np.zeros(count)
        for owner, figure in enumerate(figures):
            points_px[owner] = self.camera.project(figure.keypoints_m)
            nearest_m = self.camera.to_camera(figure.keypoints_m)[:, 2] - _SEEN_DEPTH * figure.height_m
            visibility[owner] = _visibility(canvas, owner, points_px[owner], nearest_m)
            rows, columns = np.nonzero(canvas.owner == owner)
            if rows.size:
                boxes[owner] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            areas[owner] = rows.size
        return Scene(
            image=image,
            keypoints_px=points_px.astype(np.float32),
            visibility=visibility,
            boxes_xyxy_px=(boxes / SUPERSAMPLING).astype(np.float32),
            areas_px2=(areas / SUPERSAMPLING**2).astype(np.float32),
            person_ids=np.arange(count, dtype=np.int64),
            activities=tuple(figure.activity for figure in figures),
        )


def _visibility(canvas: Canvas, owner: int, points_px: Vector, nearest_m: Vector) -> NDArray[np.int64]:
    """(17,): the surface in front of a keypoint is the person's own and not nearer than ``nearest_m``."""
    height, width = canvas.owner.shape
    # The middle of the image is the middle of the finer grid too.
    column, row = np.round((points_px + 0.5) * SUPERSAMPLING - 0.5).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    seen = (canvas.owner[row, column] == owner) & (canvas.depth_m[row, column] >= nearest_m)
    return np.where(inside, np.where(seen, 2, 1), 0).astype(np.int64)
