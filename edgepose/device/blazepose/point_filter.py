"""Steady points as MediaPipe steadies them: its one-euro filter and its low pass on the visibility.

The filter is Casiez, Roussel and Vogel's (CHI 2012), in the form of MediaPipe's
``util/filtering/one_euro_filter.cc`` and ``landmarks_smoothing_calculator_utils.cc``: the speed is that
between two raw values, divided by the size of the person, and each coordinate has a cut-off frequency of its
own. It is apart from :mod:`edgepose.device.tracking.one_euro`, which all other models share, because
BlazePose's crop follows its own filtered points: another filter would look at another crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# visibility_smoothing_calculator's low_pass_filter in pose_landmark_filtering.pbtxt.
VISIBILITY_SHARE = 0.1
# landmarks_smoothing_calculator.proto: min_allowed_object_scale.
_MIN_SIZE_PX = 1e-6


@dataclass(frozen=True)
class FilterOptions:
    """How much is smoothed.

    Attributes:
        min_cutoff_hz: Cut-off frequency of a point at rest.
        gain: Hertz more for each person's size a second.
        speed_cutoff_hz: Cut-off frequency of the speed itself.
    """

    min_cutoff_hz: float
    gain: float
    speed_cutoff_hz: float = 1.0


# pose_landmark_filtering.pbtxt: of the body, and of the two points that the next crop comes from.
BODY = FilterOptions(min_cutoff_hz=0.05, gain=80.0)
CROP = FilterOptions(min_cutoff_hz=0.01, gain=10.0)


class PointFilter:
    """Smooths points of one person, frame after frame.

    Args:
        options: How much.
    """

    def __init__(self, options: FilterOptions) -> None:
        self._options = options
        self.reset()

    def reset(self) -> None:
        """Forgets the person."""
        self._raw: Points | None = None
        self._shown: Points = np.zeros(0)
        self._speed: Points = np.zeros(0)
        self._time_ns = 0

    def update(self, points_px: Points, size_px: float, time_ns: int) -> Points:
        """Smooths the next frame's points.

        Args:
            points_px: (K, 2); always the same K.
            size_px: The person's size.
            time_ns: When the scene looked like this; where it does not advance the points are returned as
                they are, and forgotten.
        """
        if size_px < _MIN_SIZE_PX:
            return points_px
        if self._raw is None:
            self._speed, self._shown = np.zeros_like(points_px), points_px
        else:
            elapsed_s = (time_ns - self._time_ns) / 1e9
            if elapsed_s <= 0:
                return points_px
            speed = (points_px - self._raw) / (size_px * elapsed_s)
            share = _share(self._options.speed_cutoff_hz, elapsed_s)
            self._speed = self._speed + share * (speed - self._speed)
            cutoff_hz = self._options.min_cutoff_hz + self._options.gain * np.abs(self._speed)
            self._shown = self._shown + _share(cutoff_hz, elapsed_s) * (points_px - self._shown)
        self._raw, self._time_ns = points_px, time_ns
        return self._shown


class VisibilityFilter:
    """Smooths visibilities of one person: a tenth of what is new, frame after frame."""

    def __init__(self) -> None:
        self._shown: Points | None = None

    def reset(self) -> None:
        """Forgets the person."""
        self._shown = None

    def update(self, visibility: Points) -> Points:
        """Smooths the next frame's visibilities, (K,)."""
        if self._shown is None:
            self._shown = visibility
        else:
            self._shown = self._shown + VISIBILITY_SHARE * (visibility - self._shown)
        return self._shown


def _share(cutoff_hz: float | Points, elapsed_s: float) -> Points:
    """Share of what is new: ``1 / (1 + tau / Te)`` with ``tau = 1 / (2 pi cutoff)``."""
    turn = 2 * np.pi * np.asarray(cutoff_hz) * elapsed_s
    return np.asarray(turn / (1 + turn))
