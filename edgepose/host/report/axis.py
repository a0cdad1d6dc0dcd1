"""Where a number lies on a plot, and which round numbers stand beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Beyond, a figure is damaged, and its place could not be computed.
_LARGEST = 1e9
# Figures that are closer than this, by the greatest of them, are one figure.
_EQUAL = 1e-9
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A straight scale.

    Attributes:
        low: Figure at ``start_px``.
        high: Figure at ``end_px``; greater than ``low``.
        start_px: Where the scale begins.
        end_px: Where it ends; smaller than ``start_px`` for a scale that grows upwards.
        ticks: Round figures from ``low`` to ``high``.
    """

    low: float
    high: float
    start_px: float
    end_px: float
    ticks: tuple[float, ...]

    def place_px(self, value: float) -> float:
        """The place of a figure."""
        share = (value - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)

    def label(self, tick: float) -> str:
        """A tick's figure with as many decimals as its neighbours need."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        decimals = next(n for n in range(13) if abs(round(step, n) - step) < step * 1e-6 or n == 12)
        return f"{tick:.{decimals}f}"


def round_axis(values: Iterable[float], span_px: tuple[float, float], ticks: int = 5) -> Axis:
    """A scale that holds all values and begins and ends at a round figure.

    Args:
        values: Figures that must fit; those that cannot be drawn are left out.
        span_px: Its begin and end.
        ticks: About how many steps it has.
    """
    usable = [value for value in values if drawable(value) is not None] or [0.0, 1.0]
    low, high = min(usable), max(usable)
    if high - low <= max(abs(low), abs(high), 1.0) * _EQUAL:
        low, high = low - max(abs(low) * 0.1, 0.05), high + max(abs(high) * 0.1, 0.05)
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Adding 0 turns -0.0 into 0.0.
    marks = tuple(round(index * step, 12) + 0.0 for index in range(first, last + 1))
    return Axis(marks[0], marks[-1], *span_px, marks)


def drawable(value: float | None) -> float | None:
    """The figure, or None where it was not measured or is damaged."""
    return None if value is None or not math.isfinite(value) or abs(value) > _LARGEST else value


def drawable_interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Both ends in order, or None where either cannot be drawn."""
    if interval is None or any(drawable(end) is None for end in interval):
        return None
    return min(interval), max(interval)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
