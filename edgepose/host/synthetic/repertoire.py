"""What figures do, as ranges of joint angles, from standing to acrobatics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgepose.host.synthetic.skeleton import INDEX, NAMES, SIDES, Range, Vector, mirrored, within_limits

Support = Literal["feet", "seat", "ground", "hands", "air"]
Ranges = Mapping[str, Range | tuple[Range, Range]]

# fmt: off
REST: Ranges = {
    "spine_flex": (-4, 8), "spine_side": (-5, 5), "spine_twist": (-10, 10), "neck_flex": (-10, 18),
    "neck_side": (-8, 8), "neck_twist": (-28, 28), "shoulder_flex": (-15, 25), "shoulder_abduct": (4, 22),
    "shoulder_twist": (-45, -8), "elbow": (4, 45), "hip_flex": (-4, 10), "hip_abduct": (1, 11),
    "hip_twist": (0, 14), "knee": (0, 9), "ankle": (-3, 3), "pitch": (-2, 3), "roll": (-2, 2),
    "lift": (0, 0),
}
# fmt: on


@dataclass(frozen=True)
class Activity:
    """One kind of posture.

    Attributes:
        ranges: Degrees by joint, left out means at rest; a joint with two sides has one range for both or
            one each. Root pitch and roll turn the whole body.
        weight: How often it is drawn.
    """

    ranges: Ranges = field(default_factory=dict)
    weight: float = 1.0
    support: Support = "feet"


# fmt: off
_BENT_ARMS: Ranges = {"shoulder_flex": (-25, 40), "elbow": (60, 105)}
UPRIGHT: Mapping[str, Activity] = {
    "standing": Activity(weight=3),
    "hands_on_hips": Activity({
        "shoulder_flex": (-25, -8), "shoulder_abduct": (35, 50), "elbow": (85, 110),
        "shoulder_twist": (-60, -45),
    }),
    "walking": Activity({
        "hip_flex": ((15, 32), (-20, -6)), "knee": ((0, 18), (12, 45)), "elbow": (8, 45),
        "ankle": ((-8, 0), (5, 25)), "shoulder_flex": ((-32, -8), (12, 36)),
    }, weight=3),
    "running": Activity({
        **_BENT_ARMS, "spine_flex": (2, 16), "pitch": (2, 12), "lift": (0, 0.06),
        "hip_flex": ((40, 75), (-22, 0)), "knee": ((60, 105), (15, 70)),
        "shoulder_flex": ((-50, -20), (25, 60)), "ankle": ((-5, 10), (15, 40)),
    }, weight=2),
    "arms_up": Activity({
        "shoulder_abduct": (95, 172), "elbow": (0, 60), "shoulder_twist": (0, 40),
    }, weight=1.5),
    "arms_forward": Activity({"shoulder_flex": (60, 120), "elbow": (0, 60)}),
    "waving": Activity({
        "shoulder_abduct": ((80, 125), (4, 22)), "elbow": ((50, 115), (3, 40)),
        "shoulder_twist": ((30, 80), (-40, 0)),
    }),
    "arms_out": Activity({"shoulder_abduct": (60, 100), "elbow": (0, 45), "shoulder_twist": (-20, 30)}),
    "reaching": Activity({
        "shoulder_flex": ((60, 150), (-10, 50)), "elbow": ((0, 40), (5, 70)), "spine_flex": (0, 25),
    }),
    "phoning": Activity({
        "shoulder_flex": ((30, 60), (-10, 20)), "elbow": ((115, 145), (5, 60)),
        "shoulder_twist": ((-60, -20), (-40, -5)),
    }),
    "carrying": Activity({"shoulder_flex": (15, 40), "elbow": (70, 105), "shoulder_twist": (-35, -5)}),
    "leaning": Activity({"spine_side": (12, 30), "spine_flex": (-8, 20), "shoulder_abduct": (10, 70)}),
}
LOW: Mapping[str, Activity] = {
    "bending": Activity({
        "spine_flex": (40, 80), "pitch": (5, 25), "hip_flex": (15, 40), "knee": (5, 40),
        "shoulder_flex": (40, 95), "neck_flex": (-30, 10),
    }),
    "sitting": Activity({
        "hip_flex": (75, 98), "knee": (65, 105), "shoulder_flex": (10, 45), "elbow": (20, 85),
        "hip_abduct": (2, 18),
    }, weight=2.5, support="seat"),
    "sitting_on_the_ground": Activity({
        "hip_flex": (80, 110), "knee": (10, 115), "hip_abduct": (2, 30), "pitch": (-15, 0),
        "shoulder_flex": (5, 60), "spine_flex": (5, 35),
    }, support="ground"),
    "squatting": Activity({
        "hip_flex": (70, 115), "hip_abduct": (8, 28), "hip_twist": (5, 25), "knee": (80, 130),
        "shoulder_flex": (30, 95), "spine_flex": (8, 30), "pitch": (8, 25), "ankle": (-20, -8),
    }, weight=1.5),
    "kneeling": Activity({
        "hip_flex": ((75, 95), (-10, 5)), "knee": ((80, 100), (85, 100)), "shoulder_flex": (0, 50),
    }),
    "lunging": Activity({
        "hip_flex": ((45, 80), (-25, -6)), "knee": ((50, 95), (15, 60)), "spine_flex": (0, 18),
        "ankle": ((-8, 4), (10, 40)),
    }),
    "crawling": Activity({
        "pitch": (72, 88), "hip_flex": (75, 95), "knee": (80, 100), "shoulder_flex": (75, 95),
        "elbow": (0, 25), "shoulder_abduct": (0, 12), "neck_flex": (-40, -10), "ankle": (30, 48),
    }, support="hands"),
    "lying_face_up": Activity({
        "pitch": (-92, -84), "shoulder_abduct": (5, 80), "hip_abduct": (2, 20), "knee": (0, 60),
        "hip_flex": (0, 40),
    }, support="ground"),
    "lying_face_down": Activity({
        "pitch": (84, 92), "shoulder_abduct": (20, 150), "elbow": (0, 100), "hip_abduct": (2, 20),
        "ankle": (30, 48),
    }, support="ground"),
    "lying_on_a_side": Activity({
        "roll": (80, 95), "hip_flex": (5, 70), "knee": (10, 90), "shoulder_flex": (20, 100),
        "elbow": (10, 90),
    }, support="ground"),
}
ACROBATIC: Mapping[str, Activity] = {
    "jumping": Activity({
        "lift": (0.08, 0.35), "hip_flex": (0, 70), "knee": (10, 100), "shoulder_abduct": (20, 165),
        "ankle": (15, 45),
    }, support="air"),
    "star_jump": Activity({
        "lift": (0.08, 0.3), "hip_abduct": (20, 42), "shoulder_abduct": (95, 150), "elbow": (0, 25),
        "ankle": (15, 45),
    }, support="air"),
    "kicking": Activity({
        "hip_flex": ((70, 118), (-8, 5)), "knee": ((0, 35), (0, 15)), "spine_flex": (-20, 10),
        "shoulder_abduct": (20, 90), "elbow": (10, 100),
    }),
    "splits_jump": Activity({
        "lift": (0.15, 0.4), "hip_flex": ((75, 110), (-30, -15)), "knee": ((0, 15), (0, 25)),
        "shoulder_abduct": (70, 150), "ankle": (25, 50),
    }, support="air"),
    "standing_scale": Activity({
        "pitch": (55, 85), "hip_flex": ((60, 88), (-15, 0)), "knee": (0, 12), "shoulder_abduct": (60, 120),
        "neck_flex": (-40, -10),
    }),
    "handstand": Activity({
        "roll": (172, 188), "shoulder_flex": (165, 180), "shoulder_abduct": (0, 8), "elbow": (0, 15),
        "hip_flex": ((-10, 40), (-25, 20)), "knee": (0, 60), "neck_flex": (-40, -5), "ankle": (20, 50),
    }, support="hands"),
    "cartwheel": Activity({
        "roll": (50, 310), "shoulder_abduct": (130, 172), "elbow": (0, 15), "hip_abduct": (28, 44),
        "knee": (0, 12), "ankle": (20, 50),
    }, support="hands"),
    "bridge": Activity({
        "pitch": (-112, -98), "spine_flex": (-30, -24), "hip_flex": (-28, -10), "knee": (75, 95),
        "shoulder_flex": (165, 180), "shoulder_abduct": (0, 8), "elbow": (0, 20), "neck_flex": (-45, -25),
    }, support="hands"),
    "push_up": Activity({
        "pitch": (66, 80), "shoulder_flex": (80, 95), "elbow": (0, 40), "hip_flex": (-5, 5),
        "neck_flex": (-35, -5), "ankle": (-20, -5), "shoulder_abduct": (5, 20),
    }, support="hands"),
    "tucked_somersault": Activity({
        "pitch": (0, 360), "lift": (0.2, 0.5), "hip_flex": (95, 124), "knee": (100, 134),
        "spine_flex": (30, 60), "shoulder_flex": (40, 80), "elbow": (40, 90),
    }, weight=0.7, support="air"),
}
# fmt: on
ACTIVITIES: Mapping[str, Activity] = {**UPRIGHT, **LOW, **ACROBATIC}
# Every person differs a little from every other one, everywhere: degrees of standard deviation.
_SPREAD_DEGREES = 4.0


def sample_activity(rng: np.random.Generator, acrobatic_share: float, *, lying: bool = True) -> str:
    """Draws an activity.

    Args:
        rng: Source of chance.
        acrobatic_share: How often it is an acrobatic one; of the rest, a quarter are low.
        lying: Whether postures on the ground are among them.
    """
    kind = rng.random()
    low_share = 0.25 * (1 - acrobatic_share)
    group = ACROBATIC if kind < acrobatic_share else LOW if kind < acrobatic_share + low_share else UPRIGHT
    weights = np.array([a.weight if lying or a.support in {"feet", "seat"} else 0.0 for a in group.values()])
    return str(rng.choice(list(group), p=weights / weights.sum()))


def sample_posture(rng: np.random.Generator, name: str) -> Vector:
    """Draws a posture (27,), see ``skeleton.NAMES``, within the limits of every joint."""
    low, high = _bounds(name)
    posture = rng.uniform(low, high)
    posture[: INDEX["pitch"]] += rng.normal(0, _SPREAD_DEGREES, INDEX["pitch"])
    return within_limits(mirrored(posture) if rng.random() < 0.5 else posture)


def posture_of(name: str) -> Vector:
    """The middle of an activity's ranges (27,)."""
    low, high = _bounds(name)
    return within_limits((low + high) / 2)


def _bounds(activity: str) -> tuple[Vector, Vector]:
    """Lowest and highest angles (27,)."""
    bounds = np.zeros((len(NAMES), 2))
    for name, limits in {**REST, **ACTIVITIES[activity].ranges}.items():
        if name in INDEX:
            bounds[INDEX[name]] = limits
        else:
            # One range for both sides or one for each.
            bounds[[INDEX[f"{side}_{name}"] for side in SIDES]] = limits
    return bounds[:, 0], bounds[:, 1]
