"""Ids that last, and nobody lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.run.tracking import OksTracker, TrackerOptions
from edgepose.pose.poses import Poses
from tests.support.pictures import persons_at

_FRAME_NS = 40_000_000


def _ids(tracker: OksTracker, poses: Poses, frame: int) -> list[int]:
    tracked = tracker.update(poses, frame * _FRAME_NS)
    assert tracked.track_ids is not None
    return tracked.track_ids.tolist()


def test_persons_keep_their_ids_whatever_their_order() -> None:
    tracker = OksTracker()
    assert _ids(tracker, persons_at([(100, 100), (300, 100)]), 0) == [1, 2]
    assert _ids(tracker, persons_at([(304, 101), (103, 99)]), 1) == [2, 1]


def test_ids_are_kept_when_two_persons_cross() -> None:
    tracker = OksTracker()
    for frame in range(41):
        left, right = (100.0 + 5 * frame, 100.0), (300.0 - 5 * frame, 102.0)
        assert _ids(tracker, persons_at([left, right]), frame) == [1, 2], frame


def test_a_person_missed_for_some_frames_keeps_the_id() -> None:
    tracker = OksTracker(TrackerOptions(max_missed_s=0.2))
    for frame in range(4):
        _ids(tracker, persons_at([(100 + 3 * frame, 100)]), frame)
    for frame in range(4, 9):
        assert _ids(tracker, persons_at([]), frame) == []
    assert _ids(tracker, persons_at([(100 + 3 * 9, 100)]), 9) == [1]


def test_a_person_missed_for_too_long_gets_a_new_id() -> None:
    tracker = OksTracker(TrackerOptions(max_missed_s=0.2))
    _ids(tracker, persons_at([(100, 100)]), 0)
    for frame in range(1, 7):
        _ids(tracker, persons_at([]), frame)
    assert _ids(tracker, persons_at([(100, 100)]), 7) == [2]


def test_somebody_far_away_is_somebody_else() -> None:
    tracker = OksTracker()
    _ids(tracker, persons_at([(100, 100)]), 0)
    assert _ids(tracker, persons_at([(400, 100)]), 1) == [2]


def test_matching_depends_on_time_not_on_its_unit_by_luck() -> None:
    """A walk is followed over a gap that is four frames long, because the velocity is per nanosecond."""
    tracker = OksTracker()
    for frame in range(6):
        _ids(tracker, persons_at([(100 + 12 * frame, 100)]), frame)
    assert _ids(tracker, persons_at([(100 + 12 * 10, 100)]), 10) == [1]
    # Negative control: the same jump in one frame's time does not fit.
    hurried = OksTracker()
    for frame in range(6):
        _ids(hurried, persons_at([(100 + 12 * frame, 100)]), frame)
    assert _ids(hurried, persons_at([(100 + 12 * 10, 100)]), 6) == [2], "a person does not jump"


_centres = st.tuples(st.floats(-50, 700), st.floats(-50, 500))


@given(st.lists(st.lists(_centres, max_size=5), max_size=8), st.floats(0.0, 1.0))
def test_nobody_is_dropped_added_or_changed_and_ids_are_unique(
    frames: list[list[tuple[float, float]]], score: float
) -> None:
    tracker, highest = OksTracker(), 0
    for number, centres in enumerate(frames):
        poses = persons_at(centres, score=score)
        tracked = tracker.update(poses, number * _FRAME_NS)
        ids = tracked.track_ids
        assert ids is not None
        assert np.array_equal(tracked.keypoints_px, poses.keypoints_px)
        assert len(set(ids.tolist())) == len(poses)
        assert ids.dtype == np.int64
        new = [i for i in ids.tolist() if i > highest]
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)


def test_two_frames_with_the_same_time_do_not_divide_by_zero() -> None:
    tracker = OksTracker()
    for _ in range(3):
        tracked = tracker.update(persons_at([(100, 100)]), 0)
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == [1]


def test_a_person_without_confident_keypoints_is_still_tracked() -> None:
    tracker = OksTracker()
    weak = replace(persons_at([(100, 100)]), keypoint_scores=np.zeros((1, 17), np.float32))
    assert _ids(tracker, weak, 0) == [1]
    assert _ids(tracker, weak, 1) == [1]


def test_a_person_hidden_behind_another_keeps_the_id() -> None:
    """Walks on behind somebody who stands; eight frames see only the one in front."""
    tracker = OksTracker()
    for frame in range(41):
        standing, walking = (200.0, 100.0), (80.0 + 6 * frame, 98.0)
        hidden = abs(walking[0] - standing[0]) < 25
        ids = _ids(tracker, persons_at([standing] if hidden else [walking, standing]), frame)
        assert ids == ([2] if hidden else [1, 2]), frame


def test_a_camera_that_paused_has_not_shown_that_anybody_left() -> None:
    tracker = OksTracker(TrackerOptions(max_missed_s=0.2))
    assert _ids(tracker, persons_at([(100, 100)]), 0) == [1]
    assert _ids(tracker, persons_at([(101, 100)]), 250) == [1]
