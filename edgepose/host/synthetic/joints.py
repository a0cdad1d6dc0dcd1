"""The joints of a figure, how far each of them goes, and postures as vectors of their angles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Range = tuple[float, float]

# Degrees. Normal ranges of motion of the American Academy of Orthopaedic Surgeons (Greene and Heckman, "The
# Clinical Measurement of Joint Motion", 1994), spine and hip flexion rounded up to what gymnasts reach.
# Flexion lifts a limb forward, abduction outward, twist turns it outward about itself; ankle is towards
# the toes.
_CENTRAL_LIMITS: Mapping[str, Range] = {
    "spine_flex": (-30, 85),
    "spine_side": (-35, 35),
    "spine_twist": (-45, 45),
    "neck_flex": (-45, 45),
    "neck_side": (-45, 45),
    "neck_twist": (-60, 60),
}
_SIDED_LIMITS: Mapping[str, Range] = {
    "shoulder_flex": (-60, 180),
    "shoulder_abduct": (-20, 180),
    "shoulder_twist": (-70, 90),
    "elbow": (0, 150),
    "hip_flex": (-30, 125),
    "hip_abduct": (-20, 45),
    "hip_twist": (-45, 45),
    "knee": (0, 135),
    "ankle": (-20, 50),
}
# How the whole body lies in space, degrees, and how high above the ground it is, in body heights: these
# are no joints and have no anatomical limit.
_ROOT_LIMITS: Mapping[str, Range] = {"pitch": (-180, 360), "roll": (-360, 360), "lift": (0, 0.6)}

SIDES = ("left", "right")
JOINT_LIMITS: Mapping[str, Range] = {
    **_CENTRAL_LIMITS,
    **{f"{side}_{name}": limits for side in SIDES for name, limits in _SIDED_LIMITS.items()},
}
_ALL = {**JOINT_LIMITS, **_ROOT_LIMITS}
NAMES = tuple(_ALL)
INDEX = {name: place for place, name in enumerate(NAMES)}
_LOWEST, _HIGHEST = np.array(list(_ALL.values()), np.float64).T
_MIRROR = np.array(
    [
        INDEX[name.replace("left_", "?").replace("right_", "left_").replace("?", "right_")]
        for name in NAMES
    ]
)  # fmt: skip
_MIRROR_SIGN = np.where(
    [name in {"spine_side", "spine_twist", "neck_side", "neck_twist", "roll"} for name in NAMES], -1, 1
)


def within_limits(posture: Vector) -> Vector:
    """The nearest posture (27,) that a body can take."""
    return np.clip(posture, _LOWEST, _HIGHEST)


def mirrored(posture: Vector) -> Vector:
    """The posture (27,) with left and right exchanged."""
    return posture[_MIRROR] * _MIRROR_SIGN


def rotation(axis: int, degrees: float) -> Matrix:
    """(3, 3), right-handed rotation about x (0), y (1) or z (2)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix
