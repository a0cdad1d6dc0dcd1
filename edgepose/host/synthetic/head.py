"""A head: face, ears, hair, hat, glasses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgepose.host.synthetic.joints import Vector
from edgepose.host.synthetic.outfit import Outfit
from edgepose.host.synthetic.skeleton import BodyPose
from edgepose.host.synthetic.solids import Color, RoundedCone

_Point = tuple[float, float, float]


class _Sculptor:
    """Places parts in the head's frame, at the head's size."""

    def __init__(self, pose: BodyPose) -> None:
        self._pose = pose
        self._size = float(np.linalg.norm(pose.head[:, 1]))
        self._frame = pose.head / self._size

    def part(
        self,
        first: _Point,
        second: _Point,
        radii: tuple[float, float],
        color: Color,
        stretch: _Point = (1, 1, 1),
    ) -> RoundedCone:
        ends: Vector = self._pose.neck + np.array([first, second]) @ self._pose.head.T
        size = self._size
        return RoundedCone(ends, (size * radii[0], size * radii[1]), color, self._frame, stretch)


def head_cones(pose: BodyPose, outfit: Outfit) -> list[RoundedCone]:
    """Neck, skull, face and hair, units of body height."""
    sculptor = _Sculptor(pose)
    return [*_skull(sculptor, outfit.skin), *_face(sculptor, outfit), *_hair(sculptor, outfit)]


def _skull(sculptor: _Sculptor, skin: Color) -> Iterator[RoundedCone]:
    narrow = (0.94, 1, 1)
    yield sculptor.part((0, -0.045, -0.012), (0, 0.06, -0.004), (0.034, 0.03), skin)
    yield sculptor.part((0, 0.074, 0.013), (0, 0.118, 0), (0.0345, 0.0495), skin, narrow)
    yield sculptor.part((0, 0.118, -0.012), (0, 0.112, 0.004), (0.052, 0.048), skin, narrow)
    yield sculptor.part((0, 0.05, 0.03), (0, 0.056, 0.026), (0.0135, 0.02), skin)
    for sign in (1, -1):
        yield sculptor.part(
            (sign * 0.047, 0.103, -0.001), (sign * 0.0455, 0.089, 0.002), (0.0115, 0.0085), skin, (0.6, 1, 1)
        )


def _face(sculptor: _Sculptor, outfit: Outfit) -> Iterator[RoundedCone]:
    skin = outfit.skin
    red, green, blue = skin
    shaded: Color = (0.82 * red, 0.74 * green, 0.7 * blue)
    yield sculptor.part((0, 0.1, 0.0475), (0, 0.086, 0.0555), (0.0045, 0.0078), skin)
    yield sculptor.part((-0.0035, 0.0795, 0.0545), (0.0035, 0.0795, 0.0545), (0.0036, 0.0036), shaded)
    yield sculptor.part(
        (-0.0125, 0.0655, 0.0445),
        (0.0125, 0.0655, 0.0445),
        (0.0046, 0.0046),
        (0.74 * red, 0.5 * green, 0.5 * blue),
    )
    for sign in (1, -1):
        yield sculptor.part(
            (sign * 0.018, 0.1065, 0.0372),
            (sign * 0.018, 0.1065, 0.0372),
            (0.0115, 0.0115),
            shaded,
            (1.1, 0.75, 1),
        )
        yield sculptor.part(
            (sign * 0.018, 0.1065, 0.0393),
            (sign * 0.018, 0.1065, 0.0393),
            (0.0095, 0.0095),
            (236, 234, 230),
            (1.1, 0.65, 1),
        )
        yield sculptor.part(
            (sign * 0.018, 0.1068, 0.0443), (sign * 0.018, 0.1068, 0.0443), (0.0058, 0.0058), (38, 28, 24)
        )
        yield sculptor.part(
            (sign * 0.009, 0.1205, 0.0442), (sign * 0.0275, 0.121, 0.0405), (0.0038, 0.0028), outfit.hair
        )
        if outfit.glasses:
            yield sculptor.part(
                (sign * 0.0085, 0.1135, 0.051), (sign * 0.0285, 0.1135, 0.047), (0.0018, 0.0018), (20, 20, 22)
            )
            yield sculptor.part(
                (sign * 0.0285, 0.1135, 0.047), (sign * 0.048, 0.11, 0.006), (0.0018, 0.0018), (20, 20, 22)
            )


def _hair(sculptor: _Sculptor, outfit: Outfit) -> Iterator[RoundedCone]:
    hair, style = outfit.hair, outfit.hair_style
    if style == "bald":
        return
    if style == "cap":
        yield sculptor.part(
            (0, 0.128, -0.006), (0, 0.133, -0.004), (0.053, 0.05), outfit.hat, (1, 0.85, 1.02)
        )
        yield sculptor.part((0, 0.134, 0.03), (0, 0.129, 0.072), (0.03, 0.027), outfit.hat, (1, 0.2, 1))
        yield sculptor.part((0, 0.11, -0.022), (0, 0.075, -0.026), (0.0525, 0.038), hair)
        return
    yield sculptor.part((0, 0.128, -0.014), (0, 0.128, -0.004), (0.053, 0.0515), hair, (0.99, 0.92, 1))
    yield sculptor.part((0, 0.112, -0.023), (0, 0.075, -0.026), (0.052, 0.037), hair)
    yield sculptor.part((-0.02, 0.152, 0.032), (0.024, 0.15, 0.03), (0.017, 0.014), hair)
    if style == "long":
        yield sculptor.part((0, 0.115, -0.022), (0, 0.0, -0.045), (0.054, 0.042), hair, (1, 1, 0.75))
        for sign in (1, -1):
            yield sculptor.part(
                (sign * 0.042, 0.12, -0.01), (sign * 0.046, 0.03, -0.012), (0.018, 0.016), hair
            )
    if style == "bun":
        yield sculptor.part((0, 0.16, -0.05), (0, 0.164, -0.052), (0.026, 0.026), hair)
    if style == "curly":
        for turn in np.arange(0, 360, 40):
            x, z = 0.038 * np.sin(np.radians(turn)), 0.034 * np.cos(np.radians(turn)) - 0.012
            yield sculptor.part((x, 0.142, z), (1.1 * x, 0.13, 1.1 * z), (0.026, 0.024), hair)
