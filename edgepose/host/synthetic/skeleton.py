"""The joints of a figure, how far each goes, and from their angles to points and frames in space.

Lengths are shares of the body's height, after the segment table of Drillis and Contini (1966) as printed
in Winter, "Biomechanics and Motor Control of Human Movement". A body's own space: x to its left, y up,
z forward, origin between the hips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Range = tuple[float, float]

# Degrees. Normal ranges of motion of the American Academy of Orthopaedic Surgeons (Greene and Heckman, "The
# Clinical Measurement of Joint Motion", 1994), spine and hip flexion rounded up to what gymnasts reach.
# Flexion lifts a limb forward, abduction outward, twist turns it outward about itself; ankle is towards
# the toes.
# fmt: off
_CENTRAL_LIMITS: Mapping[str, Range] = {
    "spine_flex": (-30, 85), "spine_side": (-35, 35), "spine_twist": (-45, 45),
    "neck_flex": (-45, 45), "neck_side": (-45, 45), "neck_twist": (-60, 60),
}
_SIDED_LIMITS: Mapping[str, Range] = {
    "shoulder_flex": (-60, 180), "shoulder_abduct": (-20, 180), "shoulder_twist": (-70, 90),
    "elbow": (0, 150),
    "hip_flex": (-30, 125), "hip_abduct": (-20, 45), "hip_twist": (-45, 45),
    "knee": (0, 135), "ankle": (-20, 50),
}
# fmt: on
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


# In the head's frame, whose origin is the lower end of the neck: nose, eyes, ears.
_FACE = np.array(
    [[0, 0.085, 0.060], [0.018, 0.107, 0.046], [-0.018, 0.107, 0.046], [0.048, 0.096, 0], [-0.048, 0.096, 0]]
)
_LUMBAR_SHARE = 0.4
_NECK_TO_SHOULDER = 0.012
_HAND = 0.075
# A raised arm takes the shoulder girdle with it: up and towards the head.
_GIRDLE_RISE, _GIRDLE_INWARD = 0.035, 0.022


@dataclass(frozen=True)
class Build:
    """A body's proportions; lengths as shares of its height.

    Attributes:
        height_m: Standing height.
        girth: Thickness against the average.
        head: Size of the head against an adult's.
    """

    height_m: float = 1.72
    shoulder_half: float = 0.112
    hip_half: float = 0.076
    spine: float = 0.30
    upper_arm: float = 0.186
    forearm: float = 0.146
    thigh: float = 0.245
    shank: float = 0.246
    girth: float = 1.0
    head: float = 1.0


@dataclass(frozen=True)
class BodyPose:
    """A body in space, units of body height; a part's frame (3, 3) turns its own directions into space.

    Attributes:
        keypoints: (17, 3), COCO order.
        pelvis: (3, 3).
        chest: (3, 3).
        neck: (3,), lower end of the neck.
        head: (3, 3), scaled by the head's size.
        hands: (2, 3), finger ends, left then right.
        forearms: (2, 3, 3).
        thighs: (2, 3, 3).
        feet: (2, 3, 3), at the ankles.
    """

    keypoints: Vector
    pelvis: Matrix
    chest: Matrix
    neck: Vector
    head: Matrix
    hands: Vector
    forearms: Matrix
    thighs: Matrix
    feet: Matrix


def sample_build(rng: np.random.Generator, *, children: bool) -> Build:
    """Draws proportions; with ``children``, one in eight is a child."""
    child = children and rng.random() < 0.125
    scale = rng.normal(1, 0.035, 4)
    return Build(
        height_m=float(rng.uniform(1.0, 1.45) if child else np.clip(rng.normal(1.72, 0.09), 1.5, 2.0)),
        shoulder_half=0.112 * scale[0],
        hip_half=0.076 * scale[1],
        upper_arm=0.186 * scale[2],
        forearm=0.146 * scale[2],
        thigh=0.245 * scale[3],
        shank=0.246 * scale[3],
        girth=float(rng.uniform(0.88, 1.22)),
        head=float(rng.uniform(1.15, 1.4) if child else rng.uniform(0.95, 1.08)),
    )


def body_pose(posture: Vector, build: Build, heading: float) -> BodyPose:
    """Forward kinematics.

    Args:
        posture: (27,), degrees, in the order of ``NAMES``.
        build: Proportions.
        heading: Degrees about the vertical; 0 looks along z, 90 along x.
    """

    def angle(name: str) -> float:
        return float(posture[INDEX[name]])

    pelvis = rotation(1, heading) @ rotation(2, angle("roll")) @ rotation(0, angle("pitch"))
    # The lower spine takes half of the bend.
    abdomen = pelvis @ _bend(angle, "spine", 0.5)
    chest = pelvis @ _bend(angle, "spine", 1.0)
    waist = _LUMBAR_SHARE * build.spine * abdomen[:, 1]
    neck = waist + (1 - _LUMBAR_SHARE) * build.spine * chest[:, 1]
    head = build.head * chest @ _bend(angle, "neck", 1.0)
    keypoints, frames = np.zeros((17, 3)), np.zeros((3, 2, 3, 3))
    keypoints[:5] = neck + _FACE @ head.T
    for side, name in enumerate(SIDES):
        arm, leg = [5 + side, 7 + side, 9 + side], [11 + side, 13 + side, 15 + side]
        keypoints[arm], frames[0, side] = _arm(angle, name, build, chest, neck)
        keypoints[leg], frames[1:3, side] = _leg(angle, name, build, pelvis)
    hands = keypoints[9:11] - _HAND * frames[0, :, :, 1]
    return BodyPose(keypoints, pelvis, chest, neck, head, hands, frames[0], frames[1], frames[2])


def _bend(angle: Callable[[str], float], part: str, share: float) -> Matrix:
    side, flex = rotation(2, share * angle(f"{part}_side")), rotation(0, share * angle(f"{part}_flex"))
    return rotation(1, share * angle(f"{part}_twist")) @ side @ flex


def _arm(
    angle: Callable[[str], float], side: str, build: Build, chest: Matrix, neck: Vector
) -> tuple[Vector, Matrix]:
    """Shoulder, elbow and wrist (3, 3), and the forearm's frame."""
    sign = 1.0 if side == "left" else -1.0
    aside, forward = angle(f"{side}_shoulder_abduct"), angle(f"{side}_shoulder_flex")
    lifted = rotation(2, sign * aside) @ rotation(0, -forward)
    # 0 for a hanging arm, 1 for one straight up.
    raised = max(0.0, -float(lifted[1, 1]))
    aside_of_neck = sign * (build.shoulder_half - _GIRDLE_INWARD * raised)
    girdle = np.array([aside_of_neck, _GIRDLE_RISE * raised - _NECK_TO_SHOULDER, 0])
    upper = chest @ lifted @ rotation(1, sign * angle(f"{side}_shoulder_twist"))
    fore = upper @ rotation(0, -angle(f"{side}_elbow"))
    shoulder = neck + chest @ girdle
    elbow = shoulder - build.upper_arm * upper[:, 1]
    return np.stack([shoulder, elbow, elbow - build.forearm * fore[:, 1]]), fore


def _leg(angle: Callable[[str], float], side: str, build: Build, pelvis: Matrix) -> tuple[Vector, Matrix]:
    """Hip, knee and ankle (3, 3), and the frames (2, 3, 3) of thigh and foot."""
    sign = 1.0 if side == "left" else -1.0
    hip = sign * build.hip_half * pelvis[:, 0]
    lifted = rotation(2, sign * angle(f"{side}_hip_abduct")) @ rotation(0, -angle(f"{side}_hip_flex"))
    thigh = pelvis @ lifted @ rotation(1, sign * angle(f"{side}_hip_twist"))
    shank = thigh @ rotation(0, angle(f"{side}_knee"))
    knee = hip - build.thigh * thigh[:, 1]
    foot = shank @ rotation(0, angle(f"{side}_ankle"))
    return np.stack([hip, knee, knee - build.shank * shank[:, 1]]), np.stack([thigh, foot])
