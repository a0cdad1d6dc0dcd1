"""Where rays meet solids, exactly.

A rounded cone is the union of the balls between its ends. With q the vector from its first end to a
point, m from end to end, r the radii and g = r0 - r1, the ball at t touches the point where
F(t) = (q - t m)^2 - (r0 - t g)^2 = 0; the hull of all balls is where dF/dt = 0 too. Eliminating t gives
(q.m - r0 g)^2 = (q^2 - r0^2)(m^2 - g^2), a quadratic along a ray. A flattened cone is a round one in a
space that is stretched back; the parameter along the ray is the same there, so a metric is all it takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.joints import Vector
from edgepose.host.synthetic.solids import Box, RoundedCone

Plane = NDArray[np.float32]
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
