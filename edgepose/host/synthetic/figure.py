"""A person in the world: metres, standing on the ground."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgepose.host.synthetic.body import body_cones
from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.repertoire import ACTIVITIES
from edgepose.host.synthetic.skeleton import INDEX, Build, Vector, body_pose, rotation
from edgepose.host.synthetic.style import Outfit
from edgepose.host.synthetic.surfaces import Box, RoundedCone


@dataclass(frozen=True)
class Looks:
    """What stays the same about a person: body and clothes."""

    build: Build
    outfit: Outfit


@dataclass(frozen=True)
class Figure:
    """A person in the world.

    Attributes:
        cones: The body.
        keypoints_m: (17, 3), COCO order.
        seat: What it sits on.
        height_m: Standing height.
        activity: Key of ``ACTIVITIES``.
    """

    cones: tuple[RoundedCone, ...]
    keypoints_m: Vector
    seat: tuple[Box, ...]
    height_m: float
    activity: str

    def at(self, place_m: Vector) -> Figure:
        """Moved by (3,)."""
        still = np.eye(3)
        return replace(
            self,
            cones=tuple(replace(cone, ends=cone.ends + place_m) for cone in self.cones),
            keypoints_m=self.keypoints_m + place_m,
            seat=tuple(box.moved(still, place_m) for box in self.seat),
        )

    def extent(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner, each (3,), metres."""
        ends, reach = self._balls()
        return (ends - reach[..., None]).min(axis=(0, 1)), (ends + reach[..., None]).max(axis=(0, 1))

    def extent_px(self, camera: Camera) -> tuple[Vector, Vector]:
        """Lowest and highest corner in the picture, each (2,); infinite where it is not all ahead."""
        ends, reach = self._balls()
        ahead = camera.to_camera(ends)[..., 2] - reach
        if ahead.min() < 0.2:
            return np.full(2, -np.inf), np.full(2, np.inf)
        points, radius = camera.project(ends), (camera.focal_px * reach / ahead)[..., None]
        return (points - radius).min(axis=(0, 1)), (points + radius).max(axis=(0, 1))

    def _balls(self) -> tuple[Vector, Vector]:
        ends = np.stack([cone.ends for cone in self.cones])
        # Flattened parts are counted by their thinner half: the picture's edge is no place for millimetres.
        reach = np.array([[radius * max(cone.stretch) for radius in cone.radii] for cone in self.cones])
        return ends, reach


def stand(looks: Looks, posture: Vector, heading_degrees: float, activity: str) -> Figure:
    """A person at the origin, its lowest point on the ground or lifted above it.

    Args:
        looks: Body and clothes.
        posture: (27,), degrees, see ``joints.NAMES``.
        heading_degrees: Where it looks: 0 along z, towards a camera that is not turned.
        activity: Key of ``ACTIVITIES``.
    """
    build = looks.build
    pose = body_pose(posture, build, heading_degrees)
    parts = body_cones(pose, build, looks.outfit)
    lowest = min(
        float((cone.ends[:, 1] - np.asarray(cone.radii) * _thickness_upwards(cone)).min()) for cone in parts
    )
    shift = np.array([0.0, build.height_m * (float(posture[INDEX["lift"]]) - lowest), 0.0])
    still = np.eye(3)
    return Figure(
        cones=tuple(cone.moved(still, shift, build.height_m) for cone in parts),
        keypoints_m=build.height_m * pose.keypoints + shift,
        seat=_seat(shift[1] - 0.055 * build.height_m, build.height_m, heading_degrees)
        if ACTIVITIES[activity].support == "seat"
        else (),
        height_m=build.height_m,
        activity=activity,
    )


def _thickness_upwards(cone: RoundedCone) -> float:
    """How far a ball of radius 1 reaches down once it is flattened."""
    if cone.frame is None:
        return 1.0
    return float(np.linalg.norm(cone.frame[1] * np.asarray(cone.stretch)))


def _seat(top_m: float, height_m: float, heading_degrees: float) -> tuple[Box, ...]:
    """A chair or a stool under hips at the origin; its colour follows from its size."""
    if top_m < 0.1:
        return ()
    frame = rotation(1, heading_degrees)
    tone = 60 + 120 * ((1000 * height_m) % 1)
    color = (tone, 0.85 * tone, 0.68 * tone)
    half, back = 0.13 * height_m, -0.05 * height_m

    def box(x: float, y: float, z: float, half_sizes: tuple[float, float, float]) -> Box:
        return Box(frame @ np.array([x, y, z]), frame, half_sizes, color)

    parts = [box(0, top_m - 0.03, back, (half, 0.03, half))]
    leg = (0.02, top_m / 2 - 0.03, 0.02)
    sides = (-0.85 * half, 0.85 * half)
    parts += [box(x, top_m / 2 - 0.03, back + z, leg) for x in sides for z in sides]
    if int(10 * tone) % 2:
        parts.append(box(0, top_m + 0.24 * height_m, back - half - 0.03, (half, 0.1 * height_m, 0.02)))
    return tuple(parts)
