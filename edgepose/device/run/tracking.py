"""Association by object keypoint similarity, with a constant velocity of the whole person.

No appearance: what a person looks like never enters, so there is nothing to store and nothing to leak. Two
things bring an id through a crossing: the person is looked for where the motion so far leads, and the whole
figure is compared, not only its box. While someone is hidden the prediction grows vague, so that the search
widens with the time (:attr:`TrackerOptions.widening_per_s`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.poses import Poses
from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_matrix


class Tracker(Protocol):
    """Gives persons ids that last from frame to frame."""

    def update(self, poses: Poses, scene_time_ns: int) -> Poses:
        """Takes the persons of the next frame.

        Args:
            poses: Everybody in the frame.
            scene_time_ns: When the scene looked like this, in nanoseconds from any fixed origin, later
                than at the previous call: the capture time of a live frame, the media time of a file's.

        Returns:
            The same persons in the same order with ``track_ids``; no one is dropped or added.
        """
        ...


def best_pairs(alike: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of the similarities is as large as it can be.

    Args:
        alike: (N, M).
        least: Pairs below are not made.

    Returns:
        (row, column) pairs, by row.
    """
    if alike.shape[0] > alike.shape[1]:
        return sorted((row, column) for column, row in best_pairs(alike.T, least))
    # A pair that may not be made is worth nothing, so that it never displaces one that may.
    worth = np.where(alike >= least, alike, 0.0)
    rows = np.flatnonzero(worth.any(axis=1))
    columns = _assign(-worth[rows])
    pairs = zip(rows.tolist(), columns, strict=True)
    return [(row, column) for row, column in pairs if alike[row, column] >= least]


def _assign(cost: NDArray[np.float64]) -> list[int]:
    """The column of each row, of which there are at most as many as columns, at the lowest total cost.

    Kuhn's Hungarian method as shortest augmenting paths with potentials (Jonker and Volgenant 1987), O(n^3).
    Rows start in their cheapest columns: from one frame to the next nearly all of them stay there.
    """
    rows, columns = cost.shape
    cheapest = cost.argmin(axis=1).tolist() if rows else []
    first_rows = dict(zip(reversed(cheapest), range(rows - 1, -1, -1), strict=True))
    if len(first_rows) == rows:
        return cheapest
    row_price, column_price = cost.min(axis=1), np.zeros(columns)
    row_of = np.full(columns, -1)
    row_of[list(first_rows)] = list(first_rows.values())
    for row in sorted(set(range(rows)) - set(first_rows.values())):
        _augment(cost, (row_price, column_price), row_of, row)
    column_of = {int(row_of[column]): column for column in np.flatnonzero(row_of >= 0).tolist()}
    return [column_of[row] for row in range(rows)]


def _augment(
    cost: NDArray[np.float64],
    prices: tuple[NDArray[np.float64], NDArray[np.float64]],
    row_of: NDArray[np.intp],
    new_row: int,
) -> None:
    """Finds the cheapest way from a new row to a free column, and moves each row on it one column on."""
    row_price, column_price = prices
    distance, came_from = np.full(len(row_of), np.inf), np.full(len(row_of), -1)
    visited = np.zeros(len(row_of), bool)
    row, column, way = new_row, -1, 0.0
    while row >= 0:
        reduced = cost[row] - column_price + (way - row_price[row])
        nearer = (reduced < distance) & ~visited
        distance[nearer], came_from[nearer] = reduced[nearer], column
        column = int(np.where(visited, np.inf, distance).argmin())
        way, row = float(distance[column]), int(row_of[column])
        visited[column] = row >= 0
    # The prices keep every reduced cost at 0 or above.
    step = way - distance[visited]
    row_price[new_row] += way
    row_price[row_of[visited]] += step
    column_price[visited] -= step
    while column >= 0:
        before = int(came_from[column])
        row_of[column] = new_row if before < 0 else row_of[before]
        column = before


_MIN_KEYPOINT_SCORE = 0.2
_MIN_SIDE_PX = 8.0


@dataclass(frozen=True)
class TrackerOptions:
    """How persons are matched.

    Attributes:
        min_oks: Two poses less alike than this are two persons. OKS falls steeply with distance; at 0.1
            a person may be about a fifth of the own height off the predicted place.
        max_missed_s: A track that matched no one for longer than this ends, and its id with it.
        velocity_memory_s: A velocity is a mean over about this time: a turn is followed within it, and the
            jitter of the keypoints is not.
        widening_per_s: The person counts as so much larger for each second without a match, because limbs
            went on moving and the way was perhaps no straight line.
    """

    min_oks: float = 0.1
    max_missed_s: float = 2.0
    velocity_memory_s: float = 0.3
    widening_per_s: float = 0.7


@dataclass(frozen=True)
class _Track:
    track_id: int
    keypoints_px: NDArray[np.float64]
    visible: NDArray[np.bool_]
    area_px2: float
    seen_ns: int
    velocity_px_per_ns: NDArray[np.float64]
    shifts: int = 0

    def predicted_px(self, time_ns: int) -> NDArray[np.float64]:
        return self.keypoints_px + self.velocity_px_per_ns * (time_ns - self.seen_ns)

    def missed_s(self, time_ns: int) -> float:
        return max(time_ns - self.seen_ns, 0) / 1e9


class OksTracker:
    """Tracks persons; see :class:`edgepose.device.run.tracking.Tracker`."""

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self._options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._next_id = 1
        self._last_ns: int | None = None

    def update(self, poses: Poses, scene_time_ns: int) -> Poses:
        """Gives everybody in the next frame an id: a known one where a track fits, else a new one."""
        self._end_old_tracks(scene_time_ns)
        matches = dict(self._match(poses, scene_time_ns))
        tracks = [self._follow(poses, row, matches.get(row), scene_time_ns) for row in range(len(poses))]
        taken = set(matches.values())
        self._tracks = tracks + [track for i, track in enumerate(self._tracks) if i not in taken]
        self._last_ns = scene_time_ns
        return replace(poses, track_ids=np.array([t.track_id for t in tracks], dtype=np.int64))

    def _end_old_tracks(self, time_ns: int) -> None:
        """By the time of the last frame: a source that paused has not shown that anybody left."""
        last_ns = time_ns if self._last_ns is None else self._last_ns
        self._tracks = [t for t in self._tracks if t.missed_s(last_ns) <= self._options.max_missed_s]

    def _match(self, poses: Poses, time_ns: int) -> list[tuple[int, int]]:
        if not self._tracks or not len(poses):
            return []
        wider = np.array([1 + self._options.widening_per_s * t.missed_s(time_ns) for t in self._tracks])
        alike = oks_matrix(
            poses.keypoints_px,
            np.stack([t.predicted_px(time_ns) for t in self._tracks]),
            np.stack([t.visible for t in self._tracks]),
            np.array([t.area_px2 for t in self._tracks]) * wider**2,
            poses.skeleton.sigmas,
        )
        return best_pairs(alike, self._options.min_oks)

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
        velocity = _velocity(track, keypoints, visible, (time_ns, self._options.velocity_memory_s))
        return _Track(track.track_id, keypoints, visible, area, time_ns, velocity, track.shifts + 1)


def _velocity(
    track: _Track,
    keypoints_px: NDArray[np.float64],
    visible: NDArray[np.bool_],
    time_and_memory: tuple[int, float],
) -> NDArray[np.float64]:
    """Of the whole person: the median shift of the keypoints that both frames show."""
    time_ns, memory_s = time_and_memory
    both = track.visible & visible
    elapsed_ns = time_ns - track.seen_ns
    if elapsed_ns <= 0 or not both.any():
        return track.velocity_px_per_ns
    shift = np.median(keypoints_px[both] - track.keypoints_px[both], axis=0)
    # The plain mean until there is as much as the memory holds.
    gain = max(1 - np.exp(-elapsed_ns / 1e9 / memory_s), 1 / (track.shifts + 1))
    return np.asarray(track.velocity_px_per_ns + gain * (shift / elapsed_ns - track.velocity_px_per_ns))


def _area_px2(points_px: NDArray[np.float64]) -> float:
    """From the longer side alone: someone seen from the side is no smaller and moves no slower."""
    longer = max(float(np.ptp(points_px, axis=0).max()), _MIN_SIDE_PX)
    return longer * longer * BOX_TO_MASK_AREA
