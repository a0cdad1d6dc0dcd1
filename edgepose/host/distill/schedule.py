"""The learning rate over a run: a warm-up, then half a cosine down to almost nothing."""

from __future__ import annotations

import math

_WARM_UP = 0.03
_LAST = 0.005


def learning_rate(progress: float, peak: float) -> float:
    """The rate at a point of the run (Loshchilov and Hutter 2017, with a linear warm-up).

    Args:
        progress: Done share of the run, 0 to 1.
        peak: Highest rate.
    """
    if progress < _WARM_UP:
        return peak * (0.01 + 0.99 * progress / _WARM_UP)
    done = min((progress - _WARM_UP) / (1 - _WARM_UP), 1.0)
    return peak * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * done)) / 2)
