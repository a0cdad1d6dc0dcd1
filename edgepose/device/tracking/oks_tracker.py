"""Greedy association by object keypoint similarity, with a constant velocity of the whole person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.poses import Poses
from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_matrix

_MIN_KEYPOINT_SCORE = 0.2
_MIN_SIDE_PX = 8.0
# Share of the newest displacement in a track's velocity: half follows a turn within two frames and
# still halves the jitter of the keypoints.
_VELOCITY_GAIN = 0.5


@dataclass(frozen=True)
class TrackerOptions:
    """How persons are matched.

    Attributes:
        min_oks: Two poses less alike than this are two persons. OKS falls steeply with distance; at 0.1
            a person may be about a fifth of the own height off the predicted place.
        max_missed: A track that matched nobody for more frames than this ends, and its id with it.
    """

    min_oks: float = 0.1
    max_missed: int = 15


@dataclass(frozen=True)
class _Track:
    track_id: int
    keypoints_px: NDArray[np.float64]
    visible: NDArray[np.bool_]
    area_px2: float
    seen_ns: int
    velocity_px_per_ns: NDArray[np.float64]
    missed: int = 0

    def predicted_px(self, time_ns: int) -> NDArray[np.float64]:
        return self.keypoints_px + self.velocity_px_per_ns * (time_ns - self.seen_ns)


class OksTracker:
    """Tracks persons; see :class:`edgepose.device.tracking.tracker.Tracker`.

    Args:
        options: How persons are matched.
    """

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self._options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, poses: Poses, scene_time_ns: int) -> Poses:
        """Gives everybody in the next frame an id: a known one where a track fits, else a new one."""
        matches = dict(self._match(poses, scene_time_ns))
        tracks = [self._follow(poses, row, matches.get(row), scene_time_ns) for row in range(len(poses))]
        taken = set(matches.values())
        missed = [replace(t, missed=t.missed + 1) for i, t in enumerate(self._tracks) if i not in taken]
        self._tracks = tracks + [t for t in missed if t.missed <= self._options.max_missed]
        return replace(poses, track_ids=np.array([t.track_id for t in tracks], dtype=np.int64))

    def _match(self, poses: Poses, time_ns: int) -> list[tuple[int, int]]:
        if not self._tracks or not len(poses):
            return []
        alike = oks_matrix(
            poses.keypoints_px,
            np.stack([t.predicted_px(time_ns) for t in self._tracks]),
            np.stack([t.visible for t in self._tracks]),
            np.array([t.area_px2 for t in self._tracks]),
            poses.skeleton.sigmas,
        )
        return greedy_pairs(alike, self._options.min_oks)

    def _follow(self, poses: Poses, row: int, index: int | None, time_ns: int) -> _Track:
        keypoints = poses.keypoints_px[row].astype(np.float64)
        visible = poses.keypoint_scores[row] >= _MIN_KEYPOINT_SCORE
        if not visible.any():
            visible = np.ones_like(visible)
        area = _area_px2(keypoints[visible])
        if index is None:
            self._next_id += 1
            return _Track(self._next_id - 1, keypoints, visible, area, time_ns, np.zeros(2))
        track = self._tracks[index]
        velocity = _velocity(track, keypoints, visible, time_ns)
        return _Track(track.track_id, keypoints, visible, area, time_ns, velocity)


def greedy_pairs(alike: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs rows with columns, the most alike first; each row and column at most once.

    Args:
        alike: (N, M).
        least: Pairs below stay apart.

    Returns:
        (row, column) pairs; equal values pair the lower row first.
    """
    order: Sequence[int] = np.argsort(-alike, axis=None, kind="stable").tolist()
    rows: set[int] = set()
    columns: set[int] = set()
    pairs = []
    for flat in order:
        row, column = divmod(flat, alike.shape[1])
        if alike[row, column] < least:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def _velocity(
    track: _Track, keypoints_px: NDArray[np.float64], visible: NDArray[np.bool_], time_ns: int
) -> NDArray[np.float64]:
    """Of the whole person: the median shift of the keypoints that both frames show."""
    both = track.visible & visible
    elapsed_ns = time_ns - track.seen_ns
    if elapsed_ns <= 0 or not both.any():
        return track.velocity_px_per_ns
    shift = np.median(keypoints_px[both] - track.keypoints_px[both], axis=0)
    return track.velocity_px_per_ns + _VELOCITY_GAIN * (shift / elapsed_ns - track.velocity_px_per_ns)


def _area_px2(points_px: NDArray[np.float64]) -> float:
    """From the longer side alone: somebody seen from the side is no smaller and moves no slower."""
    longer = max(float(np.ptp(points_px, axis=0).max()), _MIN_SIDE_PX)
    return longer * longer * BOX_TO_MASK_AREA
