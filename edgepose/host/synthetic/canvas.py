"""One depth buffer for everything: the nearest surface wins, and is lit once, at the end.

A rounded cone is the union of the balls between its ends. With q the vector from its first end to a
point, m from end to end, r the radii and g = r0 - r1, the ball at t touches the point where
F(t) = (q - t m)^2 - (r0 - t g)^2 = 0; the hull of all balls is where dF/dt = 0 too. Eliminating t gives
(q.m - r0 g)^2 = (q^2 - r0^2)(m^2 - g^2), a quadratic along a ray. A flattened cone is a round one in a
space that is stretched back; the parameter along the ray is the same there, so a metric is all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.skeleton import Vector
from edgepose.host.synthetic.surfaces import Box, Plane, RoundedCone, Solid

Field = NDArray[np.floating]


def metric_of(cone: RoundedCone) -> Vector:
    """(3, 3), symmetric: measures lengths as if the cone were round."""
    if cone.frame is None:
        return np.eye(3)
    return np.asarray((cone.frame / np.asarray(cone.stretch) ** 2) @ cone.frame.T)


def cone_hit(
    ends: Vector, radii: tuple[float, float], metric: Vector, rays: tuple[Field, Field]
) -> tuple[Field, Field]:
    """Depth of the first surface, infinite where there is none, and the place along the axis, 0 to 1.

    Args:
        ends: (2, 3), in the camera's space.
        radii: Of the two balls.
        metric: (3, 3), see ``metric_of``, in the camera's space.
        rays: Directions (x, y, 1): x is (W,), y is (H, 1).

    Returns:
        Each (H, W).
    """
    start, axis = ends[0], ends[1] - ends[0]
    # Plain floats: a numpy scalar would turn every field into float64.
    r0, r1 = float(radii[0]), float(radii[1])
    # Rays start where they meet the plane of the first end, so that all numbers stay small.
    qx, qy = ((ray * start[2] - start[place]).astype(np.float32) for place, ray in enumerate(rays))
    x, y = (ray.astype(np.float32) for ray in rays)
    dd = _form(metric, (x, y, 1.0), (x, y, 1.0))
    dq = _form(metric, (x, y, 1.0), (qx, qy, 0.0))
    c = _form(metric, (qx, qy, 0.0), (qx, qy, 0.0)) - r0**2
    first, second, third = (float(value) for value in metric @ axis)
    dm, qm = first * x + (second * y + third), first * qx + second * qy
    length2 = float(axis @ metric @ axis)
    depth, along = _ball_hit(dd, dq, c), np.zeros_like(dd)
    last = _ball_hit(dd, dq - dm, c - 2 * qm + (length2 + r0**2 - r1**2))
    along[last < depth] = 1.0
    depth = np.minimum(depth, last)
    slope = r0 - r1
    k = length2 - slope**2
    # Else one ball holds the other, and there is nothing between them.
    if k > 1e-9 * length2:
        side, place = _side_hit((dd, dq, c), (dm, qm - r0 * slope), k)
        np.copyto(along, place, where=side < depth)
        depth = np.minimum(depth, side)
    return depth + float(start[2]), along


def box_hit(box: Box, rays: tuple[Field, Field]) -> tuple[Field, Field]:
    """Depth of the first face, infinite where there is none, and its axis, plus 3 where it looks back.

    Args:
        box: In the camera's space.
        rays: As ``cone_hit`` takes them.

    Returns:
        Each (H, W).
    """
    entries, exits, faces = [], [], []
    for number, (axis, half) in enumerate(zip(box.frame.T, box.half, strict=True)):
        speed = axis[0] * rays[0] + (axis[1] * rays[1] + axis[2])
        speed = np.where(np.abs(speed) < 1e-9, 1e-9, speed)
        middle = float(axis @ box.centre)
        near, far = (middle - half) / speed, (middle + half) / speed
        entries.append(np.minimum(near, far))
        exits.append(np.maximum(near, far))
        faces.append(np.where(speed > 0, number + 3, number))
    depth = np.max(entries, axis=0)
    face = np.choose(np.argmax(entries, axis=0), faces)
    missed = (depth >= np.min(exits, axis=0)) | (depth <= 0)
    return np.where(missed, np.inf, depth).astype(np.float32), face.astype(np.float32)


def _form(metric: Vector, first: tuple[Field | float, ...], second: tuple[Field | float, ...]) -> Field:
    """The bilinear form of two fields of vectors; terms that are zero cost nothing."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = metric.tolist()
    # Columns and rows apart as long as can be: only the last sum is a whole field.
    columns = xx * first[0] * second[0] + xz * (first[0] * second[2] + first[2] * second[0])
    rows = yy * first[1] * second[1] + yz * (first[1] * second[2] + first[2] * second[1])
    total = columns + (rows + zz * first[2] * second[2])
    if xy:
        total = total + xy * (first[0] * second[1] + first[1] * second[0])
    return np.asarray(total)


def _ball_hit(dd: Field, dq: Field, c: Field) -> Field:
    inside = dq * dq - dd * c
    return np.where(inside >= 0, (-dq - np.sqrt(np.maximum(inside, 0))) / dd, np.inf)


def _side_hit(ball: tuple[Field, Field, Field], line: tuple[Field, Field], k: float) -> tuple[Field, Field]:
    dd, dq, c = ball
    dm, qe = line
    a = dm * dm - k * dd
    b = dm * qe - k * dq
    inside = b * b - a * (qe * qe - k * c)
    a = np.where(np.abs(a) < 1e-12, -1e-12, a)
    depth = (-b + np.sqrt(np.maximum(inside, 0))) / a
    place = (qe + depth * dm) / k
    return np.where((inside >= 0) & (place >= 0) & (place <= 1), depth, np.inf), place


SUPERSAMPLING = 2
NO_OWNER, THING = -1, -2
# Nothing nearer to the camera is drawn, metres.
_NEAREST_M = 0.15
# What is smaller than this is left out, image pixels.
_SMALLEST_PX = 0.25


@dataclass(frozen=True)
class Light:
    """Light from everywhere and from a sun or lamp, to which ``towards`` (3,) points, a unit vector."""

    towards: Vector
    ambient: float
    direct: float


@dataclass(frozen=True)
class Canvas:
    """Everything that was drawn, at ``SUPERSAMPLING`` times the image's size.

    Attributes:
        color: float32 (H', W', 3), RGB, 0 to 255, 0 where nothing is.
        depth_m: float32 (H', W'), along the optical axis, infinite where nothing is.
        owner: int16 (H', W'), a person's index, ``THING`` or ``NO_OWNER``.
    """

    color: Plane
    depth_m: Plane
    owner: NDArray[np.int16]


def draw_solids(solids: Sequence[Solid], owners: Sequence[int], camera: Camera, light: Light) -> Canvas:
    """Draws solids of the world as a camera sees them."""
    buffer = _Buffer(camera)
    turn, shift = camera.turn, -camera.turn @ camera.position
    seen = [solid.moved(turn, shift) for solid in solids]
    for number, (solid, window) in enumerate(zip(seen, buffer.windows(seen), strict=True)):
        if window is not None:
            buffer.draw(number, solid, window)
    return _lit(buffer, seen, owners, (turn @ light.towards, turn[:, 1], light))


_Window = tuple[slice, slice]


class _Buffer:
    """Depth, number of the solid and place on it, for every sample."""

    def __init__(self, camera: Camera) -> None:
        width, height = camera.size_wh[0] * SUPERSAMPLING, camera.size_wh[1] * SUPERSAMPLING
        self._focal = camera.focal_px * SUPERSAMPLING
        self.columns = (np.arange(width) - (width - 1) / 2) / self._focal
        self.rows = (np.arange(height) - (height - 1) / 2) / self._focal
        self.depth_m = np.full((height, width), np.inf, np.float32)
        self.number = np.full((height, width), -1, np.int16)
        self.place = np.zeros((height, width), np.float32)

    def windows(self, solids: Sequence[Solid]) -> list[_Window | None]:
        """Rows and columns that hold each solid, None where it is not to be seen."""
        if not solids:
            return []
        # A cone has two ends, which are repeated, where a box has eight corners.
        corners = np.stack(
            [s.corners if isinstance(s, Box) else np.repeat(s.ends, 4, axis=0) for s in solids]
        )
        reach = np.array([solid.reach for solid in solids])[:, None]
        nearest = corners[..., 2].min(axis=1) - reach[:, 0]
        drawn = nearest > _NEAREST_M
        drawn &= (reach[:, 0] == 0) | (reach[:, 0] * self._focal > _SMALLEST_PX * SUPERSAMPLING * nearest)
        # A ball spans at most this much in the image: its sides at its nearest and at its farthest.
        ahead = np.maximum(np.stack([corners[..., 2] - reach, corners[..., 2] + reach]), 1e-6)
        bounds = []
        for axis, grid in ((1, self.rows), (0, self.columns)):
            low = ((corners[..., axis] - reach) / ahead).min(axis=(0, 2))
            high = ((corners[..., axis] + reach) / ahead).max(axis=(0, 2))
            bounds += [np.searchsorted(grid, low), np.searchsorted(grid, high)]
        drawn &= (bounds[0] < bounds[1]) & (bounds[2] < bounds[3])
        edges = np.stack(bounds, axis=1).tolist()
        return [
            (slice(top, bottom), slice(left, right)) if wanted else None
            for wanted, (top, bottom, left, right) in zip(drawn.tolist(), edges, strict=True)
        ]

    def draw(self, number: int, solid: Solid, window: _Window) -> None:
        rays = self.columns[window[1]], self.rows[window[0]][:, None]
        if isinstance(solid, Box):
            depth, place = box_hit(solid, rays)
        else:
            depth, place = cone_hit(solid.ends, solid.radii, metric_of(solid), rays)
        nearer = depth < self.depth_m[window]
        np.copyto(self.depth_m[window], depth, where=nearer)
        np.copyto(self.place[window], place, where=nearer)
        np.copyto(self.number[window], np.int16(number), where=nearer)


def _lit(
    buffer: _Buffer, solids: Sequence[Solid], owners: Sequence[int], light: tuple[Vector, Vector, Light]
) -> Canvas:
    towards, up, strength = light
    height, width = buffer.number.shape
    color = np.zeros((height, width, 3), np.float32)
    owner = np.full((height, width), NO_OWNER, np.int16)
    numbers = buffer.number.ravel()
    covered = np.nonzero(numbers >= 0)[0]
    # The samples of a solid stand side by side, so that each solid takes its slice.
    covered = covered[np.argsort(numbers[covered], kind="stable")]
    present, starts = np.unique(numbers[covered], return_index=True)
    stops = np.append(starts[1:], covered.size)[: len(starts)].tolist()
    for number, start, stop in zip(present.tolist(), starts.tolist(), stops, strict=True):
        mine, solid = covered[start:stop], solids[number]
        place, normal = buffer.place.ravel()[mine], _normals(buffer, solid, mine)
        facing = np.maximum(normal @ towards.astype(np.float32), 0)
        shade = strength.ambient * (0.8 + 0.2 * (normal @ up.astype(np.float32))) + strength.direct * facing
        color.reshape(-1, 3)[mine] = _paint(solid, place, normal) * shade[:, None]
        owner.ravel()[mine] = owners[number]
    return Canvas(color, buffer.depth_m, owner)


def _normals(buffer: _Buffer, solid: Solid, samples: NDArray[np.intp]) -> Plane:
    """(N, 3), unit vectors out of a solid's surface."""
    place = buffer.place.ravel()[samples]
    if isinstance(solid, Box):
        faces = np.concatenate([solid.frame.T, -solid.frame.T]).astype(np.float32)
        return faces[place.astype(int)]
    row, column = np.divmod(samples, buffer.number.shape[1])
    depth = buffer.depth_m.ravel()[samples]
    start, axis = solid.ends[0].astype(np.float32), (solid.ends[1] - solid.ends[0]).astype(np.float32)
    normal = np.empty((len(samples), 3), np.float32)
    normal[:, 0] = buffer.columns[column].astype(np.float32) * depth
    normal[:, 1] = buffer.rows[row].astype(np.float32) * depth
    normal[:, 2] = depth
    normal -= start + place[:, None] * axis
    if solid.frame is not None:
        normal = normal @ metric_of(solid).astype(np.float32)
    return normal / (np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + np.float32(1e-12))


def _paint(solid: Solid, along: Plane, normal: Plane) -> Plane:
    color = np.asarray(solid.color, np.float32)
    if isinstance(solid, Box) or solid.pattern is None:
        return color[None]
    pattern = solid.pattern
    across = np.floor(along * pattern.count).astype(int) % 2
    axis = np.array([1.0, 0, 0]) if solid.frame is None else solid.frame[:, 0]
    lengthwise = np.floor((normal @ axis) * pattern.count / 2).astype(int) % 2
    second = {"bands": across, "stripes": lengthwise, "checks": across ^ lengthwise}[pattern.kind]
    return np.where(second[:, None] == 1, np.asarray(pattern.color, np.float32), color)
