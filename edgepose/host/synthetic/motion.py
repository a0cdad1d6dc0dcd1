"""Persons who move: walking across the picture, turning, squatting, waving, smoothly and without end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgepose.host.synthetic.activities import posture_of
from edgepose.host.synthetic.figure import Figure, Looks, stand
from edgepose.host.synthetic.joints import INDEX, Vector, within_limits

MotionKind = Literal["walking", "squatting", "waving", "jumping_jacks"]
IN_PLACE: tuple[MotionKind, ...] = get_args(MotionKind)[1:]

# Metres a second, and metres a double step for each metre of body height (Winter: about 0.8 heights).
_STRIDE_HEIGHTS = 0.82
_PERIOD_S = {"squatting": 2.6, "waving": 1.1, "jumping_jacks": 1.3}


@dataclass(frozen=True)
class Mover:
    """A person and what it does in the course of a clip.

    Attributes:
        looks: Body and clothes.
        kind: What it does.
        start_m: (3,), where it is at first.
        velocity_m_s: (3,), along the ground.
        heading_degrees: Where it looks.
        phase: Where in its cycle it starts, 0 to 1.
    """

    looks: Looks
    kind: MotionKind
    start_m: Vector
    velocity_m_s: Vector
    heading_degrees: float
    phase: float

    def at(self, time_s: float) -> Figure:
        """The person at a time."""
        speed = float(np.linalg.norm(self.velocity_m_s))
        if self.kind == "walking":
            cycle = self.phase + speed * time_s / (_STRIDE_HEIGHTS * self.looks.build.height_m)
        else:
            cycle = self.phase + time_s / _PERIOD_S[self.kind]
        activity = "standing" if self.kind in {"waving", "jumping_jacks"} else self.kind
        figure = stand(self.looks, posture_at(self.kind, cycle), self.heading_degrees, activity)
        return figure.at(self.start_m + self.velocity_m_s * time_s)


def posture_at(kind: MotionKind, cycle: float) -> Vector:
    """The posture (27,) at a place in a cycle; 0 and 1 are the same.

    Args:
        kind: The motion.
        cycle: In cycles, any number.
    """
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * cycle)
    rest = posture_of("standing")
    if kind == "walking":
        return _walk(cycle)
    if kind == "squatting":
        low = posture_of("squatting")
        # Down and up, with a moment of standing.
        share = float(np.clip(1.25 * swing - 0.1, 0, 1))
        return within_limits(rest + share * share * (3 - 2 * share) * (low - rest))
    if kind == "waving":
        raised = posture_of("waving")
        raised[INDEX["left_shoulder_twist"]] += 25 * np.sin(2 * np.pi * cycle)
        return within_limits(raised)
    star = posture_of("star_jump")
    star[INDEX["lift"]] = 0
    posture = rest + float(swing) * (star - rest)
    posture[INDEX["lift"]] = 0.05 * np.sin(2 * np.pi * cycle) ** 2
    return within_limits(posture)


def _walk(cycle: float) -> Vector:
    """Legs and arms swing against each other; the knee bends while its leg comes forward."""
    posture = posture_of("standing")
    for side, offset, sign in (("left", 0.0, 1.0), ("right", 0.5, -1.0)):
        angle = 2 * np.pi * (cycle + offset)
        posture[INDEX[f"{side}_hip_flex"]] = 6 + 24 * np.sin(angle)
        posture[INDEX[f"{side}_knee"]] = 6 + 50 * max(0.0, np.cos(angle)) ** 1.5
        posture[INDEX[f"{side}_ankle"]] = 4 - 12 * np.sin(angle)
        posture[INDEX[f"{side}_shoulder_flex"]] = 4 - 26 * np.sin(angle)
        posture[INDEX[f"{side}_elbow"]] = 22 - 14 * np.sin(angle)
        posture[INDEX["spine_twist"]] += sign * 4 * np.sin(angle)
    return within_limits(posture)
