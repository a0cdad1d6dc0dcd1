"""How sure a figure is: 95 % percentile intervals over pictures drawn with replacement.

Pictures are drawn, not persons, because persons of one picture are not independent. Two models are compared
on the same draws, which makes the interval of their difference much tighter than those of the two figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
# Any fixed number will do; a report must not change when nothing else does.
SEED = 20_170_901

Interval = tuple[float, float]


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """Draws ``images`` pictures with replacement, ``resamples`` times.

    Returns:
        (resamples, images), how often each picture was drawn.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=resamples)


def interval_95(values: NDArray[np.float64]) -> Interval | None:
    """The 2.5th and 97.5th percentile; draws without any person (NaN) are left out.

    Returns:
        None where no draw had a value.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
