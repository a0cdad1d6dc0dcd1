"""Draws figures in their surroundings and says what is true about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.canvas import THING, Canvas, Light, draw_solids
from edgepose.host.synthetic.figure import Figure
from edgepose.host.synthetic.labels import PersonTruth, person_truth
from edgepose.host.synthetic.photography import photograph
from edgepose.host.synthetic.scene import Scene
from edgepose.host.synthetic.solids import RoundedCone, Solid
from edgepose.host.synthetic.style import Exposure
from edgepose.host.synthetic.surfaces import Plane
from edgepose.host.synthetic.surroundings import Surroundings, cast_shadows, paint_surroundings

_FOLDS = 0.06


@dataclass(frozen=True)
class Stage:
    """Everything but the persons.

    Attributes:
        camera: Where from.
        surroundings: Ground, wall or horizon.
        things: Furniture and what stands in front, world coordinates.
        lamp: Light.
        exposure: The camera's sensor.
    """

    camera: Camera
    surroundings: Surroundings
    things: tuple[Solid, ...]
    lamp: Light
    exposure: Exposure

    @cached_property
    def _empty(self) -> tuple[Plane, NDArray[np.bool_]]:
        return paint_surroundings(self.surroundings, self.camera)

    def render(self, figures: Sequence[Figure], rng: np.random.Generator) -> Scene:
        """The picture of persons with its labels; ids count from 0 in the order given.

        Args:
            figures: The persons, world coordinates.
            rng: Source of the sensor's noise.
        """
        canvas = self._drawn(figures)
        picture = self._with_shadows(figures)
        width, height = self.camera.size_wh
        covered = (canvas.depth_m < np.inf).astype(np.float32)
        share = cv2.resize(covered, (width, height), interpolation=cv2.INTER_AREA)[..., None]
        color = cv2.resize(canvas.color, (width, height), interpolation=cv2.INTER_AREA)
        picture = picture * (1 - share) + color * self._folds
        image = photograph(np.asarray(picture, np.float32), self.exposure, rng)
        return _scene(image, figures, [self._truth(canvas, i, figure) for i, figure in enumerate(figures)])

    def _drawn(self, figures: Sequence[Figure]) -> Canvas:
        solids: list[Solid] = [cone for figure in figures for cone in figure.cones]
        owners = [owner for owner, figure in enumerate(figures) for _ in figure.cones]
        things = [*self.things, *(box for figure in figures for box in figure.seat)]
        return draw_solids([*solids, *things], [*owners, *[THING] * len(things)], self.camera, self.lamp)

    @cached_property
    def _folds(self) -> Plane:
        """Folds of cloth and stains of furniture, as a factor (H, W, 1)."""
        width, height = self.camera.size_wh
        noise = self.surroundings.noise
        size = (max(width, height),) * 2
        large = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)[:height, :width]
        return np.asarray(1 + _FOLDS * large, np.float32)[..., None]

    def _with_shadows(self, figures: Sequence[Figure]) -> Plane:
        empty, on_floor = self._empty
        picture = empty.copy()
        mask = np.zeros(on_floor.shape, np.float32)
        cones = [cone for figure in figures for cone in figure.cones]
        cones += [thing for thing in self.things if isinstance(thing, RoundedCone)]
        for cone in cones:
            self._shade(mask, cone)
        unit = self.camera.size_wh[1] / 240
        soft = 1.2 if self.lamp.direct > 0.5 else 4.0
        cast_shadows(picture, on_floor, mask, min(0.75 * self.lamp.direct, 0.6), soft * unit)
        return picture

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

    def _truth(self, canvas: Canvas, owner: int, figure: Figure) -> PersonTruth:
        points = self.camera.project(figure.keypoints_m), self.camera.to_camera(figure.keypoints_m)
        return person_truth(canvas, owner, points, figure.height_m)


def _scene(image: NDArray[np.uint8], figures: Sequence[Figure], truths: Sequence[PersonTruth]) -> Scene:
    count = len(figures)
    return Scene(
        image=image,
        keypoints_px=np.array([truth.keypoints_px for truth in truths], np.float32).reshape(count, 17, 2),
        visibility=np.array([truth.visibility for truth in truths], np.int64).reshape(count, 17),
        boxes_xyxy_px=np.array([truth.box_xyxy_px for truth in truths], np.float32).reshape(count, 4),
        areas_px2=np.array([truth.area_px2 for truth in truths], np.float32).reshape(count),
        person_ids=np.arange(count, dtype=np.int64),
        activities=tuple(figure.activity for figure in figures),
    )
