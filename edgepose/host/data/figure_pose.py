"""Poses of a drawn figure: joint angles within human limits, turned into points in space.

Lengths are shares of the body's height, after the segment table of Drillis and Contini (1966) as printed
in Winter, "Biomechanics and Motor Control of Human Movement". Space: x to the figure's left, y up,
z forward, origin between the hips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Range = tuple[float, float]

SHOULDER_HALF, HIP_HALF = 0.112, 0.076
SPINE, NECK_TO_SHOULDER = 0.30, 0.012
UPPER_ARM, FOREARM, THIGH, SHANK = 0.186, 0.146, 0.245, 0.246

# In the head's frame, whose origin is the lower end of the neck.
FACE_KEYPOINTS = np.array(
    [[0, 0.085, 0.060], [0.018, 0.107, 0.046], [-0.018, 0.107, 0.046], [0.048, 0.096, 0], [-0.048, 0.096, 0]]
)

# Degrees; a side is (left, right). Flexion lifts a limb forward, abduction outward; elbows and knees
# only bend the human way. Left out means REST.
_REST: Mapping[str, tuple[Range, Range]] = {
    "shoulder_flex": ((-15, 25), (-15, 25)),
    "shoulder_abduct": ((4, 25), (4, 25)),
    "elbow": ((3, 50), (3, 50)),
    "hip_flex": ((-4, 12), (-4, 12)),
    "hip_abduct": ((1, 13), (1, 13)),
    "knee": ((0, 10), (0, 10)),
    # Not sides: forward lean and sideways lean.
    "lean": ((-4, 8), (-5, 5)),
}
POSE_FAMILIES: Mapping[str, Mapping[str, tuple[Range, Range]]] = {
    "standing": {},
    "hands_on_hips": {
        "shoulder_flex": ((-25, -5), (-25, -5)),
        "shoulder_abduct": ((35, 50), (35, 50)),
        "elbow": ((80, 105), (80, 105)),
    },
    "walking": {
        "hip_flex": ((15, 35), (-22, -6)),
        "knee": ((0, 20), (12, 45)),
        "shoulder_flex": ((-35, -10), (15, 40)),
        "elbow": ((5, 40), (15, 60)),
    },
    "arms_raised": {"shoulder_abduct": ((95, 165), (95, 165)), "elbow": ((0, 70), (0, 70))},
    "waving": {"shoulder_abduct": ((80, 120), (4, 25)), "elbow": ((60, 110), (3, 40))},
    "arms_out": {"shoulder_abduct": ((60, 100), (60, 100)), "elbow": ((0, 45), (0, 45))},
    "reaching": {
        "shoulder_flex": ((55, 130), (-10, 60)),
        "elbow": ((5, 45), (5, 70)),
        "lean": ((5, 22), (-8, 8)),
    },
    "sitting": {
        "hip_flex": ((75, 95), (75, 95)),
        "knee": ((70, 100), (70, 100)),
        "shoulder_flex": ((10, 45), (10, 45)),
        "elbow": ((20, 75), (20, 75)),
    },
    "squatting": {
        "hip_flex": ((60, 95), (60, 95)),
        "hip_abduct": ((10, 25), (10, 25)),
        "knee": ((70, 110), (70, 110)),
        "shoulder_flex": ((50, 95), (50, 95)),
        "lean": ((15, 32), (-4, 4)),
    },
    "leaning": {"lean": ((-8, 22), (12, 28)), "shoulder_abduct": ((10, 60), (10, 60))},
    "lunging": {"hip_flex": ((45, 75), (-25, -8)), "knee": ((50, 85), (20, 60)), "lean": ((0, 18), (-5, 5))},
}


@dataclass(frozen=True)
class BodyPose:
    """A body in space, seen from the front along z; y up, units of body height.

    Attributes:
        keypoints: (17, 3), COCO order.
        torso: (3, 3), turns the torso's frame into space.
        head: (3, 3), turns the head's frame into space.
        neck: (3,), lower end of the neck.
        hands: (2, 3), finger ends, left then right.
        shanks: (2, 3, 3), the frames of both lower legs, for the feet.
        family: Key of ``POSE_FAMILIES``.
    """

    keypoints: Vector
    torso: Matrix
    head: Matrix
    neck: Vector
    hands: Vector
    shanks: Matrix
    family: str


def rotation(axis: int, degrees: float) -> Matrix:
    """(3, 3), right-handed rotation about x (0), y (1) or z (2)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix


def sample_pose(rng: np.random.Generator) -> BodyPose:
    """Draws a pose and a view: mostly from the front, sometimes from the side or from behind."""
    family = str(rng.choice(list(POSE_FAMILIES)))
    angles = {
        name: [float(rng.uniform(*limits)) for limits in POSE_FAMILIES[family].get(name, rest)]
        for name, rest in _REST.items()
    }
    if rng.random() < 0.5:
        angles = {name: (values if name == "lean" else values[::-1]) for name, values in angles.items()}
    view = rotation(0, rng.uniform(-3, 9)) @ rotation(1, _sample_yaw(rng))
    head_turn = rotation(1, rng.uniform(-25, 25)) @ rotation(0, rng.uniform(-8, 14))
    return _assemble(family, angles, view, head_turn, float(rng.uniform(10, 45)))


def _sample_yaw(rng: np.random.Generator) -> float:
    side = rng.choice([-1.0, 1.0])
    kind = rng.random()
    if kind < 0.7:
        return float(rng.uniform(-45, 45))
    if kind < 0.88:
        return float(side * rng.uniform(45, 80))
    return float(180 + rng.uniform(-35, 35))


def _assemble(
    family: str, angles: Mapping[str, list[float]], view: Matrix, head_turn: Matrix, inward: float
) -> BodyPose:
    lean_forward, lean_aside = angles["lean"]
    torso = view @ rotation(2, lean_aside) @ rotation(0, lean_forward)
    neck = torso @ np.array([0, SPINE, 0])
    head = torso @ rotation(0, -0.5 * lean_forward) @ head_turn
    keypoints = np.zeros((17, 3))
    hands, shanks = np.zeros((2, 3)), np.zeros((2, 3, 3))
    keypoints[:5] = neck + FACE_KEYPOINTS @ head.T
    for side, sign in enumerate((1.0, -1.0)):
        shoulder = neck + torso @ np.array([sign * SHOULDER_HALF, -NECK_TO_SHOULDER, 0])
        arm = (
            torso
            @ rotation(2, sign * angles["shoulder_abduct"][side])
            @ rotation(0, -angles["shoulder_flex"][side])
            @ rotation(1, -sign * inward)
        )
        forearm = arm @ rotation(0, -angles["elbow"][side])
        elbow = shoulder - UPPER_ARM * arm[:, 1]
        wrist = elbow - FOREARM * forearm[:, 1]
        hands[side] = wrist - 0.075 * forearm[:, 1]
        hip = view @ np.array([sign * HIP_HALF, 0, 0])
        thigh = view @ rotation(2, sign * angles["hip_abduct"][side]) @ rotation(0, -angles["hip_flex"][side])
        shanks[side] = thigh @ rotation(0, angles["knee"][side])
        knee = hip - THIGH * thigh[:, 1]
        ankle = knee - SHANK * shanks[side][:, 1]
        keypoints[[5 + side, 7 + side, 9 + side, 11 + side, 13 + side, 15 + side]] = (
            shoulder, elbow, wrist, hip, knee, ankle,
        )  # fmt: skip
    return BodyPose(keypoints, torso, head, neck, hands, shanks, family)
