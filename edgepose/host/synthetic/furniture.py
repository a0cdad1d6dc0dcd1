"""Things beside, behind and in front of persons."""

from __future__ import annotations

import numpy as np

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.figure import Figure
from edgepose.host.synthetic.joints import Vector, rotation
from edgepose.host.synthetic.solids import Box, Color, RoundedCone, Solid
from edgepose.host.synthetic.surfaces import muted_color


def sample_things(
    rng: np.random.Generator, camera: Camera, behind_m: float, *, outdoors: bool
) -> list[Solid]:
    """Draws furniture, or trees and boxes, farther from the camera than ``behind_m``."""
    things: list[Solid] = []
    for _ in range(rng.integers(0, 5)):
        ahead = behind_m + float(rng.uniform(0.4, 4.0))
        aside = float(rng.uniform(-0.6, 0.6)) * ahead * camera.size_wh[0] / camera.focal_px
        place = ground_place(camera, aside, ahead)
        kind = rng.random()
        if outdoors and kind < 0.55:
            things += _tree(rng, place)
        elif kind < 0.35:
            things += _table(rng, place)
        elif kind < 0.5:
            things += _plant(rng, place)
        else:
            things.append(_crate(rng, place, (0.25, 0.7), (0.2, 1.1)))
    return things


def ground_place(camera: Camera, aside_m: float, ahead_m: float) -> Vector:
    """The place (3,) on the ground so far ahead of the camera and to its right, along the ground."""
    yaw = np.radians(camera.yaw_degrees)
    ahead, right = np.array([np.sin(yaw), 0, -np.cos(yaw)]), np.array([np.cos(yaw), 0, np.sin(yaw)])
    ground = np.array([camera.position[0], 0.0, camera.position[2]])
    return np.asarray(ground + ahead_m * ahead + aside_m * right)


def thing_in_front(rng: np.random.Generator, camera: Camera, figure: Figure) -> list[Solid]:
    """A post, a crate or a ball between the camera and some part of a person."""
    target = figure.keypoints_m[int(rng.choice([7, 8, 9, 10, 11, 12, 13, 14, 15, 16]))]
    share = float(rng.uniform(0.6, 0.85))
    point = camera.position + share * (target - camera.position)
    color = _color(rng)
    unit = 0.5 * figure.height_m * share
    kind = rng.random()
    if kind < 0.4:
        foot, top = point * (1, 0, 1), point * (1, 0, 1) + (0, 3.0, 0)
        radius = float(rng.uniform(0.025, 0.08))
        return [RoundedCone(np.stack([foot, top]), (radius, radius), color)]
    if kind < 0.8 and point[1] < 1.3:
        half = (float(rng.uniform(0.12, 0.5)) * unit, max(point[1] / 2, 0.05), float(rng.uniform(0.05, 0.2)))
        frame = rotation(1, float(rng.uniform(-40, 40)))
        return [Box(point * (1, 0.5, 1), frame, half, color)]
    radius = float(rng.uniform(0.12, 0.28)) * unit
    return [RoundedCone(np.stack([point, point]), (radius, radius), color)]


def _color(rng: np.random.Generator) -> Color:
    red, green, blue = muted_color(rng, 40, 220, spread=0.25)
    return float(red), float(green), float(blue)


def _crate(
    rng: np.random.Generator, place: Vector, width: tuple[float, float], height: tuple[float, float]
) -> Box:
    half = rng.uniform((width[0], height[0], width[0]), (width[1], height[1], width[1]))
    centre = place + np.array([0, half[1], 0])
    return Box(centre, rotation(1, float(rng.uniform(0, 90))), (half[0], half[1], half[2]), _color(rng))


def _table(rng: np.random.Generator, place: Vector) -> list[Solid]:
    frame, color = rotation(1, float(rng.uniform(0, 90))), _color(rng)
    wide, deep, high = (float(value) for value in rng.uniform((0.4, 0.3, 0.6), (0.9, 0.5, 0.85)))
    parts: list[Solid] = [Box(place + frame @ [0, high, 0], frame, (wide, 0.025, deep), color)]
    for x in (-0.9, 0.9):
        for z in (-0.9, 0.9):
            foot = place + frame @ np.array([x * wide, 0, z * deep])
            parts.append(RoundedCone(np.stack([foot, foot + np.array([0, high, 0])]), (0.03, 0.03), color))
    return parts


def _plant(rng: np.random.Generator, place: Vector) -> list[Solid]:
    pot: Solid = RoundedCone(
        np.stack([place + np.array([0, 0.12, 0]), place + np.array([0, 0.28, 0])]), (0.12, 0.16), _color(rng)
    )
    return [pot, *_leaves(rng, place + np.array([0, 0.8, 0]), 0.35)]


def _tree(rng: np.random.Generator, place: Vector) -> list[Solid]:
    height = float(rng.uniform(1.8, 3.5))
    trunk: Solid = RoundedCone(np.stack([place, place + np.array([0, height, 0])]), (0.17, 0.1), (92, 70, 52))
    return [trunk, *_leaves(rng, place + np.array([0, height + 0.4, 0]), 0.9)]


def _leaves(rng: np.random.Generator, centre: Vector, size: float) -> list[Solid]:
    leaves: list[Solid] = []
    for _ in range(7):
        where = centre + size * rng.uniform((-0.8, -0.7, -0.8), (0.8, 0.8, 0.8))
        radius, tone = size * float(rng.uniform(0.3, 0.55)), float(rng.uniform(0.7, 1.15))
        leaves.append(
            RoundedCone(np.stack([where, where]), (radius, radius), (58 * tone, 98 * tone, 46 * tone))
        )
    return leaves
