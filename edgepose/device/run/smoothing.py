"""Steady keypoints: the one-euro filter, per keypoint, in units of the person's own size.

Casiez, Roussel and Vogel, CHI 2012, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems": an exponential filter whose cut-off frequency grows with the speed of what it follows,
so that someone at rest stands still and someone who moves is followed at once. Three things are ours:

* speeds are in body sizes a second, so that the same options fit near and far persons and any image size;
* a speed below what noise alone looks like counts as rest, which lets the gain on real motion be high;
* doubtful keypoints weigh less, down to a floor, so that a flicker of a hidden wrist hardly shows.

**Lag.** A point that moves evenly is shown behind by ``frame rate / (2 pi cutoff)`` frames
(:func:`lag_frames`). With the defaults, at 30 frames a second: 0.5 frames at 0.25 body sizes a second (a slow
step), 0.3 at 0.5, 0.15 at 1 (walking pace). Below 0.12 it exceeds a frame, which is then less than half a
hundredth of the body's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.poses import Poses

_MIN_SIZE_PX = 8.0
_MIN_KEYPOINT_SCORE = 0.2
_LAG_STEPS = 100


@dataclass(frozen=True)
class SmoothingOptions:
    """How much is smoothed.

    Attributes:
        min_cutoff_hz: Cut-off frequency of a point at rest; lower is steadier and slower.
        gain: Hertz more for each body size a second above ``resting_speed``.
        resting_speed: Body sizes a second that noise alone reaches.
        speed_cutoff_hz: Cut-off frequency of the speed itself; the paper's default of 1 Hz.
        trusted_score: Keypoints with at least this score weigh fully.
        least_weight: What the worst keypoint still weighs.
        forget_s: After so long without a person its filter starts anew.
    """

    min_cutoff_hz: float = 0.6
    gain: float = 30.0
    resting_speed: float = 0.1
    speed_cutoff_hz: float = 1.0
    trusted_score: float = 0.4
    least_weight: float = 0.25
    forget_s: float = 0.5


@dataclass(frozen=True)
class _Filter:
    """One person: what was shown last."""

    keypoints_px: NDArray[np.float64]
    speed: NDArray[np.float64]
    size_px: float
    seen_ns: int


class PoseSmoother:
    """Smooths the keypoints of tracked persons."""

    def __init__(self, options: SmoothingOptions | None = None) -> None:
        self._options = options or SmoothingOptions()
        self._filters: dict[int, _Filter] = {}

    def update(self, poses: Poses, scene_time_ns: int) -> Poses:
        """Smooths the next frame; persons, scores, boxes and ids stay as they are.

        Raises:
            ValueError: The persons have no track ids.
        """
        if poses.track_ids is None:
            raise ValueError("only tracked persons can be smoothed")
        self._forget(scene_time_ns)
        rows = [
            self._next(track_id, poses.keypoints_px[row], poses.keypoint_scores[row], scene_time_ns)
            for row, track_id in enumerate(poses.track_ids.tolist())
        ]
        if not rows:
            return poses
        return replace(poses, keypoints_px=np.stack(rows).astype(np.float32))

    def _next(
        self, track_id: int, keypoints_px: NDArray[np.float32], scores: NDArray[np.float32], time_ns: int
    ) -> NDArray[np.float64]:
        points = keypoints_px.astype(np.float64)
        size_px = _size_px(points, scores)
        before = self._filters.get(track_id)
        if before is None:
            after = _Filter(points, np.zeros_like(points), size_px, time_ns)
        else:
            after = _step(before, points, scores, time_ns, self._options)
        self._filters[track_id] = after
        return after.keypoints_px

    def _forget(self, time_ns: int) -> None:
        limit_ns = time_ns - self._options.forget_s * 1e9
        for track_id in [i for i, kept in self._filters.items() if kept.seen_ns < limit_ns]:
            del self._filters[track_id]


def lag_frames(speed: float, frame_rate_fps: float, options: SmoothingOptions | None = None) -> float:
    """Frames by which a trusted keypoint that moves at ``speed`` body sizes a second is shown behind."""
    lag = 0.0
    for _ in range(_LAG_STEPS):
        # The filter measures the speed from where the point was shown, so the lag itself quickens it.
        cutoff = _cutoff_hz(np.array(speed * (1 + lag)), options or SmoothingOptions())
        lag = (lag + frame_rate_fps / (2 * np.pi * float(cutoff))) / 2
    return lag


def _step(
    before: _Filter,
    points_px: NDArray[np.float64],
    scores: NDArray[np.float32],
    time_ns: int,
    options: SmoothingOptions,
) -> _Filter:
    elapsed_s = (time_ns - before.seen_ns) / 1e9
    if elapsed_s <= 0:
        # Two images of one moment say nothing about speed.
        return before
    # The size is steadier than the keypoints: a tenth of what is new is enough.
    size_px = before.size_px + 0.1 * (_size_px(points_px, scores) - before.size_px)
    moved = points_px - before.keypoints_px
    speed = moved / (size_px * elapsed_s)
    smooth = before.speed + _alpha(np.array(options.speed_cutoff_hz), elapsed_s) * (speed - before.speed)
    cutoff = _cutoff_hz(np.hypot(smooth[:, 0], smooth[:, 1]), options)
    weight = np.clip(scores / options.trusted_score, options.least_weight, 1.0)
    share = _alpha(cutoff * weight, elapsed_s)
    return _Filter(before.keypoints_px + share[:, None] * moved, smooth, size_px, time_ns)


def _cutoff_hz(speed: NDArray[np.float64], options: SmoothingOptions) -> NDArray[np.float64]:
    return options.min_cutoff_hz + options.gain * np.maximum(speed - options.resting_speed, 0.0)


def _alpha(cutoff_hz: NDArray[np.float64], elapsed_s: float) -> NDArray[np.float64]:
    """Share of what is new: ``1 / (1 + tau / Te)`` with ``tau = 1 / (2 pi cutoff)``, as in the paper."""
    turn = 2 * np.pi * cutoff_hz * elapsed_s
    return np.asarray(turn / (1 + turn))


def _size_px(points_px: NDArray[np.float64], scores: NDArray[np.float32]) -> float:
    """The longer side of what is seen of the person."""
    seen = points_px[scores >= _MIN_KEYPOINT_SCORE]
    if len(seen) < 2:
        seen = points_px
    return max(float(np.ptp(seen, axis=0).max()), _MIN_SIZE_PX)
