"""Rooms and landscapes around the persons, and the things beside, behind and in front of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.figure import Figure
from edgepose.host.synthetic.skeleton import Vector, rotation
from edgepose.host.synthetic.surfaces import (
    FLOORS,
    WALLS,
    Box,
    Color,
    Plane,
    RoundedCone,
    Solid,
    Surface,
    SurfaceKind,
    muted_color,
    noise_at,
    paint,
    sample_noise,
    sample_surface,
)

Backdrop = Literal["hills", "trees", "houses", "sea"]
_FAR_M = 60.0
_GROUNDS: tuple[SurfaceKind, ...] = ("rough", "rough", "plain", "tiles", "stripes")


@dataclass(frozen=True)
class _Decoration:
    """A painting, a window, a door: a rectangle on the wall, metres."""

    low: tuple[float, float]
    high: tuple[float, float]
    color: NDArray[np.float64]
    rim: NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """Where a scene takes place.

    Attributes:
        wall: None outdoors.
        wall_distance_m: From the origin, backwards.
        wall_turn_degrees: How obliquely the wall stands.
        sky: (2, 3), RGB at the horizon and above.
        backdrop: What is at the horizon.
        noise: float32 (S, S), seamless.
    """

    floor: Surface
    wall: Surface | None
    wall_distance_m: float
    wall_turn_degrees: float
    decorations: tuple[_Decoration, ...]
    sky: NDArray[np.float64]
    backdrop: Backdrop
    backdrop_color: NDArray[np.float64]
    noise: Plane

    @property
    def outdoors(self) -> bool:
        """Whether there is a sky."""
        return self.wall is None


def sample_surroundings(rng: np.random.Generator, farthest_m: float) -> Surroundings:
    """Draws a place; a wall stands behind ``farthest_m``."""
    noise = sample_noise(rng)
    outdoors = rng.random() < 0.45
    floor = sample_surface(rng, _GROUNDS if outdoors else FLOORS, noise)
    blue = rng.uniform(0.4, 1.0)
    top = np.array([235 - 130 * blue, 238 - 75 * blue, 245 - 15 * blue])
    return Surroundings(
        floor=floor,
        wall=None if outdoors else sample_surface(rng, WALLS, noise),
        wall_distance_m=farthest_m + float(rng.uniform(0.5, 3.5)),
        wall_turn_degrees=float(rng.uniform(-28, 28)),
        decorations=tuple(_sample_decoration(rng) for _ in range(rng.integers(0, 6))),
        sky=np.stack([np.minimum(top + rng.uniform(0, 70), 248), top]),
        backdrop=("hills", "trees", "houses", "sea")[int(rng.integers(4))],
        backdrop_color=muted_color(rng, 45, 150),
        noise=noise,
    )


def _sample_decoration(rng: np.random.Generator) -> _Decoration:
    x, wide = float(rng.uniform(-4, 4)), float(rng.uniform(0.3, 1.6))
    low, high = float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.3, 1.3))
    if rng.random() < 0.25:
        low, high, wide = 0.0, 2.1, 0.9
    color = muted_color(rng, 40, 240, spread=0.25)
    return _Decoration((x, low), (x + wide, low + high), color, color * float(rng.uniform(0.5, 0.9)))


def paint_surroundings(place: Surroundings, camera: Camera) -> tuple[Plane, NDArray[np.bool_]]:
    """The empty scene.

    Returns:
        float32 (H, W, 3), RGB, and bool (H, W): where the floor is, which takes shadows.
    """
    rays = _world_rays(camera)
    down = np.minimum(rays[..., 1], -1e-4)
    reach = np.minimum(-float(camera.position[1]) / down, _FAR_M).astype(np.float32)
    u, v = (float(camera.position[axis]) + reach * rays[..., axis] for axis in (0, 2))
    image = paint(place.floor, u, v, reach)
    on_floor = rays[..., 1] < -1e-4
    if place.wall is None:
        # Haze takes the pattern off the far ground.
        haze = np.clip(reach / _FAR_M, 0, 1)[..., None] ** 2
        image += haze * (place.sky[0].astype(np.float32) - image)
        above = ~on_floor | (reach >= _FAR_M)
        image[above] = _paint_horizon(place, rays[above])
        return np.asarray(image, np.float32), ~above
    hit, across, height = _wall_hit(place, camera, rays)
    above = hit < np.where(on_floor, reach, np.inf)
    image[above] = _paint_wall(place, place.wall, across[above], height[above], hit[above])
    return np.asarray(image, np.float32), on_floor & ~above


def _world_rays(camera: Camera) -> Plane:
    """(H, W, 3), one unit ahead."""
    width, height = camera.size_wh
    x = (np.arange(width) - camera.centre_px[0]) / camera.focal_px
    y = (np.arange(height) - camera.centre_px[1]) / camera.focal_px
    right, down, ahead = camera.turn
    columns, rows = (x[:, None] * right).astype(np.float32), (y[:, None] * down + ahead).astype(np.float32)
    return columns[None] + rows[:, None]


def _wall_hit(place: Surroundings, camera: Camera, rays: Plane) -> tuple[Plane, Plane, Plane]:
    """Distance of the wall along each ray, and where on it: across and height, metres."""
    # The wall stands across the direction in which the camera looks, more or less.
    turn = np.radians(place.wall_turn_degrees - camera.yaw_degrees)
    normal = np.array([np.sin(turn), 0, np.cos(turn)])
    along = np.array([np.cos(turn), 0, -np.sin(turn)])
    towards = -(rays @ normal.astype(np.float32))
    room = place.wall_distance_m + float(normal @ camera.position)
    hit = np.where(towards > 1e-3, room / np.maximum(towards, 1e-3), np.inf).astype(np.float32)
    safe = np.minimum(hit, 1e3)
    across = safe * (rays @ along.astype(np.float32)) + float(along @ camera.position)
    return hit, across, camera.position[1] + safe * rays[..., 1]


def _paint_wall(place: Surroundings, wall: Surface, across: Plane, height: Plane, distance: Plane) -> Plane:
    color = paint(wall, across, height, distance)
    color *= (0.86 + 0.07 * np.minimum(height, 3))[:, None]
    for item in place.decorations:
        inside, core = (
            (across > item.low[0] + rim)
            & (across < item.high[0] - rim)
            & (height > item.low[1] + rim)
            & (height < item.high[1] - rim)
            for rim in (0.0, 0.05)
        )
        color[inside] = item.rim
        shade = 1 + 0.25 * noise_at(place.noise, across[core], height[core], 25)
        color[core] = item.color * shade[:, None]
    # The skirting board.
    color[height < 0.09] *= 0.7
    return color


def _paint_horizon(place: Surroundings, rays: Plane) -> Plane:
    """Sky, clouds and what stands at the horizon, for rays (N, 3)."""
    azimuth = np.arctan2(rays[:, 0], -rays[:, 2])
    slope = rays[:, 1] / np.maximum(np.hypot(rays[:, 0], rays[:, 2]), 1e-6)
    elevation: Plane = slope.astype(np.float32)
    share = np.clip(elevation * 2.2, 0, 1)[:, None]
    color = place.sky[0] + share * (place.sky[1] - place.sky[0])
    clouds = np.clip(_between_cells(place.noise, azimuth * 18, elevation * 36), 0, 1)
    color = color + (250 - color) * (0.5 * clouds)[:, None]
    top = _skyline(place, azimuth)
    behind = elevation < top
    tone = 1 + 0.35 * noise_at(place.noise, azimuth[behind], elevation[behind], 160)
    if place.backdrop == "houses":
        window = (np.floor(azimuth[behind] * 60) % 2) * (np.floor(elevation[behind] * 60) % 2)
        tone = 0.9 + 0.1 * tone + 0.3 * window * noise_at(place.noise, azimuth[behind], elevation[behind], 30)
    color[behind] = np.clip(place.backdrop_color * tone[:, None], 0, 250)
    return np.asarray(color, np.float32)


def _skyline(place: Surroundings, azimuth: Plane) -> Plane:
    """How high above the horizon the backdrop reaches, as a slope."""
    flat = np.zeros_like(azimuth)
    if place.backdrop == "hills":
        return np.asarray(0.08 + 0.08 * _between_cells(place.noise, azimuth * 18, flat), np.float32)
    if place.backdrop == "trees":
        crowns, leaves = (_between_cells(place.noise, azimuth * cells, flat) for cells in (60, 400))
        return np.asarray(0.2 + 0.1 * crowns + 0.04 * leaves, np.float32)
    if place.backdrop == "houses":
        return np.asarray(0.22 + 0.2 * noise_at(place.noise, azimuth, flat, 7), np.float32)
    return flat + np.float32(0.01)


def _between_cells(noise: Plane, across: Plane, up: Plane) -> Plane:
    """The noise at places between its cells."""
    row, column = np.floor(up).astype(np.int32), np.floor(across).astype(np.int32)
    down, right = up - row, across - column
    side = len(noise)
    upper, lower = (
        (1 - right) * noise[line % side, column % side] + right * noise[line % side, (column + 1) % side]
        for line in (row, row + 1)
    )
    return np.asarray((1 - down) * upper + down * lower, np.float32)


def cast_shadows(
    image: Plane, on_floor: NDArray[np.bool_], shadow: Plane, strength: float, softness_px: float
) -> None:
    """Darkens the floor, in place, under a mask (H, W) of 0 to 1."""
    soft = cv2.GaussianBlur(shadow, (0, 0), max(softness_px, 0.3))
    image *= np.where(on_floor, 1 - strength * soft, 1)[..., None]


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
            things.append(_crate(rng, place))
    return things


def ground_place(camera: Camera, aside_m: float, ahead_m: float) -> Vector:
    """The place (3,) on the ground so far ahead of the camera and to its right, along the ground."""
    yaw = np.radians(camera.yaw_degrees)
    ahead, right = np.array([np.sin(yaw), 0, -np.cos(yaw)]), np.array([np.cos(yaw), 0, np.sin(yaw)])
    ground = np.array([camera.position[0], 0.0, camera.position[2]])
    return np.asarray(ground + ahead_m * ahead + aside_m * right)


def thing_in_front(rng: np.random.Generator, camera: Camera, figure: Figure) -> list[Solid]:
    """A post, a crate or a ball between the camera and some part of a person."""
    target = figure.keypoints_m[int(rng.choice(np.arange(7, 17)))]
    share = float(rng.uniform(0.6, 0.85))
    point = camera.position + share * (target - camera.position)
    color = _color(rng)
    unit = 0.5 * figure.height_m * share
    kind = rng.random()
    if kind < 0.4:
        radius = float(rng.uniform(0.025, 0.08))
        return [RoundedCone(point * (1, 0, 1) + np.array([[0, 0, 0], [0, 3.0, 0]]), (radius, radius), color)]
    if kind < 0.8 and point[1] < 1.3:
        half = (float(rng.uniform(0.12, 0.5)) * unit, max(point[1] / 2, 0.05), float(rng.uniform(0.05, 0.2)))
        return [Box(point * (1, 0.5, 1), rotation(1, float(rng.uniform(-40, 40))), half, color)]
    return [_ball(point, float(rng.uniform(0.12, 0.28)) * unit, color)]


def _ball(centre: Vector, radius: float, color: Color) -> RoundedCone:
    return RoundedCone(np.stack([centre, centre]), (radius, radius), color)


def _color(rng: np.random.Generator) -> Color:
    red, green, blue = muted_color(rng, 40, 220, spread=0.25)
    return float(red), float(green), float(blue)


def _crate(rng: np.random.Generator, place: Vector) -> Box:
    half = rng.uniform((0.25, 0.2, 0.25), (0.7, 1.1, 0.7))
    centre = place + np.array([0, half[1], 0])
    return Box(centre, rotation(1, float(rng.uniform(0, 90))), (half[0], half[1], half[2]), _color(rng))


def _table(rng: np.random.Generator, place: Vector) -> list[Solid]:
    frame, color = rotation(1, float(rng.uniform(0, 90))), _color(rng)
    wide, deep, high = (float(value) for value in rng.uniform((0.4, 0.3, 0.6), (0.9, 0.5, 0.85)))
    parts: list[Solid] = [Box(place + frame @ [0, high, 0], frame, (wide, 0.025, deep), color)]
    for x in (-0.9, 0.9):
        for z in (-0.9, 0.9):
            foot = place + frame @ np.array([x * wide, 0, z * deep])
            parts.append(RoundedCone(foot + np.array([[0, 0, 0], [0, high, 0]]), (0.03, 0.03), color))
    return parts


def _plant(rng: np.random.Generator, place: Vector) -> list[Solid]:
    pot = RoundedCone(place + np.array([[0, 0.12, 0], [0, 0.28, 0]]), (0.12, 0.16), _color(rng))
    return [pot, *_leaves(rng, place + np.array([0, 0.8, 0]), 0.35)]


def _tree(rng: np.random.Generator, place: Vector) -> list[Solid]:
    height = float(rng.uniform(1.8, 3.5))
    trunk = RoundedCone(place + np.array([[0, 0, 0], [0, height, 0]]), (0.17, 0.1), (92, 70, 52))
    return [trunk, *_leaves(rng, place + np.array([0, height + 0.4, 0]), 0.9)]


def _leaves(rng: np.random.Generator, centre: Vector, size: float) -> list[Solid]:
    leaves: list[Solid] = []
    for _ in range(7):
        where = centre + size * rng.uniform((-0.8, -0.7, -0.8), (0.8, 0.8, 0.8))
        radius, tone = size * float(rng.uniform(0.3, 0.55)), float(rng.uniform(0.7, 1.15))
        leaves.append(_ball(where, radius, (58 * tone, 98 * tone, 46 * tone)))
    return leaves
