"""Draws what figures do."""

from __future__ import annotations

import numpy as np

from edgepose.host.synthetic.joints import INDEX, NAMES, SIDES, Vector, mirrored, within_limits
from edgepose.host.synthetic.repertoire import ACROBATIC, ACTIVITIES, LOW, REST, UPRIGHT, Ranges

# Everybody differs a little from everybody else, everywhere: degrees of standard deviation.
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
    """Draws a posture (27,), see ``joints.NAMES``, within the limits of every joint.

    Args:
        rng: Source of chance.
        name: Key of ``ACTIVITIES``.
    """
    low, high = _bounds({**REST, **ACTIVITIES[name].ranges})
    posture = rng.uniform(low, high)
    posture[: INDEX["pitch"]] += rng.normal(0, _SPREAD_DEGREES, INDEX["pitch"])
    return within_limits(mirrored(posture) if rng.random() < 0.5 else posture)


def posture_of(name: str) -> Vector:
    """The middle of an activity's ranges (27,)."""
    low, high = _bounds({**REST, **ACTIVITIES[name].ranges})
    return within_limits((low + high) / 2)


def _bounds(ranges: Ranges) -> tuple[Vector, Vector]:
    bounds = np.zeros((len(NAMES), 2))
    for name, limits in ranges.items():
        if name in INDEX:
            bounds[INDEX[name]] = limits
        else:
            for side, own in zip(SIDES, np.broadcast_to(np.array(limits, np.float64), (2, 2)), strict=True):
                bounds[INDEX[f"{side}_{name}"]] = own
    return bounds[:, 0], bounds[:, 1]
