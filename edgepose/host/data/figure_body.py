"""What a drawn figure is made of: rounded cones of skin, hair and cloth around a pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.figure_pose import BodyPose, Vector

Color = tuple[float, float, float]

_SKIN_RGB = ((247, 209, 180), (228, 184, 148), (203, 152, 113), (166, 115, 78), (120, 80, 56), (84, 56, 42))
_HAIR_RGB = ((28, 22, 20), (58, 40, 28), (96, 64, 38), (158, 118, 66), (140, 70, 40), (150, 150, 150))
_CLOTH_RGB = (
    (36, 52, 96), (190, 40, 44), (235, 235, 232), (30, 30, 34), (52, 120, 74), (214, 172, 52), (96, 130, 180),
    (128, 128, 130), (112, 66, 110), (200, 110, 50), (70, 92, 100), (150, 120, 92),
)  # fmt: skip


@dataclass(frozen=True)
class Cone:
    """A cone with round ends.

    Attributes:
        ends: (2, 3), centres of the two end balls.
        radii: Of the two end balls.
        color: RGB, 0 to 255.
        roundness: How much the surface bends away at its rim: 1 a ball, 0 a flat disc.
    """

    ends: Vector
    radii: tuple[float, float]
    color: Color
    roundness: float = 1.0


@dataclass(frozen=True)
class Outfit:
    """Colours and cut, RGB 0 to 255; lengths as shares of the limb that cloth covers."""

    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    sleeve: float
    leg: float
    long_hair: bool
    girth: float


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draws an outfit."""
    shirt, trousers, shoes = rng.choice(len(_CLOTH_RGB), size=3, replace=False)
    return Outfit(
        skin=_SKIN_RGB[rng.integers(len(_SKIN_RGB))],
        hair=_HAIR_RGB[rng.integers(len(_HAIR_RGB))],
        shirt=_CLOTH_RGB[shirt],
        trousers=_CLOTH_RGB[trousers],
        shoes=_CLOTH_RGB[shoes],
        sleeve=float(rng.choice([0.25, 0.3, 1.0])),
        leg=float(rng.choice([0.35, 1.0, 1.0])),
        long_hair=bool(rng.random() < 0.35),
        girth=float(rng.uniform(0.9, 1.2)),
    )


def body_cones(pose: BodyPose, outfit: Outfit) -> list[Cone]:
    """The figure as cones, units of body height, the pose's space."""
    return [*_head(pose, outfit), *_torso(pose, outfit), *_arms(pose, outfit), *_legs(pose, outfit)]


def _limb(
    start: Vector, end: Vector, radii: tuple[float, float], color: Color, roundness: float = 1.0
) -> Cone:
    return Cone(np.stack([start, end]), radii, color, roundness)


def _head(pose: BodyPose, outfit: Outfit) -> list[Cone]:
    def place(*points: tuple[float, float, float]) -> Vector:
        return pose.neck + np.asarray(points) @ pose.head.T

    def ball(x: float, y: float, z: float, radius: float, color: Color) -> Cone:
        return Cone(place((x, y, z), (x, y, z)), (radius, radius), color)

    skin, hair = outfit.skin, outfit.hair
    lips = (0.72 * skin[0], 0.5 * skin[1], 0.5 * skin[2])
    cones = [
        Cone(place((0, -0.03, -0.01), (0, 0.06, 0)), (0.032, 0.029), skin, 0.9),
        Cone(place((0, 0.074, 0.013), (0, 0.118, 0)), (0.035, 0.049), skin, 0.9),
        Cone(place((0, 0.126, -0.016), (0, 0.122, -0.006)), (0.054, 0.053), hair),
        Cone(place((0, 0.098, 0.050), (0, 0.086, 0.056)), (0.004, 0.0075), skin),
        Cone(place((-0.012, 0.066, 0.045), (0.012, 0.066, 0.045)), (0.0045, 0.0045), lips, 0.5),
    ]
    if outfit.long_hair:
        cones.append(Cone(place((0, 0.115, -0.022), (0, 0.02, -0.045)), (0.053, 0.04), hair))
    for sign in (1, -1):
        cones += [
            Cone(place((sign * 0.048, 0.103, 0), (sign * 0.047, 0.09, 0.002)), (0.012, 0.009), skin),
            ball(sign * 0.018, 0.107, 0.0385, 0.0095, (238, 236, 232)),
            ball(sign * 0.018, 0.107, 0.0425, 0.0064, (38, 28, 24)),
            Cone(place((sign * 0.009, 0.121, 0.044), (sign * 0.027, 0.121, 0.041)), (0.004, 0.003), hair),
        ]
    return cones


def _torso(pose: BodyPose, outfit: Outfit) -> list[Cone]:
    def place(*points: tuple[float, float, float]) -> Vector:
        return np.asarray(points) @ pose.torso.T

    girth, shirt = outfit.girth, outfit.shirt
    left, right = pose.keypoints[5], pose.keypoints[6]
    cones = [
        _limb(
            pose.neck + 0.88 * (left - pose.neck),
            pose.neck + 0.88 * (right - pose.neck),
            (0.04, 0.04),
            shirt,
            0.7,
        ),
        Cone(place((0, 0.24, 0), (0, 0.06, 0)), (0.07 * girth, 0.066 * girth), shirt, 0.6),
        Cone(place((0, 0.30, -0.01), (0, 0.26, 0)), (0.038, 0.06), shirt, 0.7),
        _limb(
            pose.keypoints[11] * 0.75,
            pose.keypoints[12] * 0.75,
            (0.06 * girth, 0.06 * girth),
            outfit.trousers,
            0.6,
        ),
    ]
    sides = ((sign * 0.062, sign * 0.048 * girth) for sign in (1, -1))
    cones += [
        Cone(place((x_top, 0.235, 0), (x_low, 0.04, 0)), (0.06 * girth, 0.054 * girth), shirt, 0.6)
        for x_top, x_low in sides
    ]
    return cones


def _arms(pose: BodyPose, outfit: Outfit) -> list[Cone]:
    cones = []
    skin, shirt, girth = outfit.skin, outfit.shirt, outfit.girth
    for side in range(2):
        shoulder, elbow, wrist = pose.keypoints[[5 + side, 7 + side, 9 + side]]
        hand = pose.hands[side]
        cones += [
            _limb(shoulder, elbow, (0.034 * girth, 0.025), skin),
            _limb(elbow, wrist, (0.0255, 0.0165), skin),
            _limb(elbow, elbow + 0.35 * (wrist - elbow), (0.0255, 0.026), skin),
            _limb(wrist, wrist + 0.5 * (hand - wrist), (0.0165, 0.022), skin),
            _limb(wrist + 0.5 * (hand - wrist), hand, (0.021, 0.013), skin),
        ]
        # A sleeve covers that share of the whole arm, shoulder to wrist.
        if outfit.sleeve >= 1:
            cones += [
                _limb(shoulder, elbow, (0.039 * girth, 0.031), shirt),
                _limb(elbow, elbow + 0.95 * (wrist - elbow), (0.031, 0.024), shirt),
            ]
        else:
            end = shoulder + 2 * outfit.sleeve * (elbow - shoulder)
            cones.append(_limb(shoulder, end, (0.04 * girth, 0.037), shirt))
    return cones


def _legs(pose: BodyPose, outfit: Outfit) -> list[Cone]:
    cones = []
    skin, cloth, girth = outfit.skin, outfit.trousers, outfit.girth
    for side in range(2):
        hip, knee, ankle = pose.keypoints[[11 + side, 13 + side, 15 + side]]
        frame = pose.shanks[side]
        foot = ankle + np.array([[0, -0.018, -0.022], [0, -0.024, 0.085]]) @ frame.T
        cones += [
            _limb(hip * 0.9, knee, (0.056 * girth, 0.036), skin, 0.9),
            _limb(knee, ankle, (0.036, 0.022), skin),
            _limb(knee + 0.15 * (ankle - knee), knee + 0.5 * (ankle - knee), (0.036, 0.03), skin),
            Cone(foot, (0.026, 0.02), outfit.shoes, 0.8),
            _limb(ankle, foot[0], (0.024, 0.026), outfit.shoes, 0.8),
        ]
        if outfit.leg >= 1:
            cones += [
                _limb(hip * 0.9, knee, (0.061 * girth, 0.043), cloth, 0.85),
                _limb(knee, knee + 0.94 * (ankle - knee), (0.043, 0.033), cloth, 0.9),
            ]
        else:
            end = hip + 2 * outfit.leg * (knee - hip)
            cones.append(_limb(hip * 0.9, end, (0.062 * girth, 0.052), cloth, 0.85))
    return cones


def cone_extent(cones: list[Cone]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest (x, y) that the cones reach, each (2,)."""
    ends = np.stack([cone.ends[:, :2] for cone in cones])
    radii = np.array([cone.radii for cone in cones])[..., None]
    return (ends - radii).min(axis=(0, 1)), (ends + radii).max(axis=(0, 1))
