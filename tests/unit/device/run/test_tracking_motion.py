"""The motion in a track: its velocity, its memory, how far it looks, in seconds whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.device.run.tracking import OksTracker, TrackerOptions
from edgepose.pose.poses import Poses
from tests.support.pictures import persons_at

_S = 1_000_000_000


class Walk:
    """One tracker, told in seconds."""

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self.tracker = OksTracker(options)

    def see(self, at_s: float, *centres: tuple[float, float], height_px: float = 100.0) -> list[int]:
        return self.take(at_s, persons_at(list(centres), height_px))

    def take(self, at_s: float, poses: Poses) -> list[int]:
        tracked = self.tracker.update(poses, round(at_s * _S))
        assert tracked.track_ids is not None
        return [int(one) for one in tracked.track_ids]

    def predicted(self, at_s: float) -> tuple[float, float]:
        """Where the first track is looked for: its hip."""
        hips = self.tracker._tracks[0].predicted_px(round(at_s * _S))[11:13].mean(axis=0)
        return float(hips[0]), float(hips[1])


@pytest.mark.parametrize("fps", [5, 25, 100])
@pytest.mark.parametrize("velocity", [(60.0, 0.0), (0.0, -45.0), (-30.0, 20.0)])
def test_a_steady_walk_is_foretold_exactly_at_every_frame_rate(
    fps: int, velocity: tuple[float, float]
) -> None:
    walk = Walk()
    times = np.arange(fps + 1) / fps
    for at_s in times:
        assert walk.see(at_s, (300 + velocity[0] * at_s, 240 + velocity[1] * at_s)) == [1]
    assert walk.predicted(1.5) == pytest.approx((300 + 1.5 * velocity[0], 240 + 1.5 * velocity[1]), abs=0.05)


def test_a_velocity_is_learnt_from_the_first_two_frames_whole() -> None:
    walk = Walk()
    walk.see(0.0, (100, 100))
    walk.see(0.04, (104, 100))
    # 4 pixels in 0.04 s are 100 a second.
    assert walk.predicted(0.24) == pytest.approx((124, 100), abs=0.05)


@pytest.mark.parametrize("memory_s", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("fps", [10, 50])
def test_a_turn_is_followed_as_fast_as_the_memory_says(memory_s: float, fps: int) -> None:
    """Exponential forgetting: after a memory's time, 1/e of the old velocity is left, at any frame rate."""
    walk = Walk(TrackerOptions(velocity_memory_s=memory_s))
    place, at_s = 100.0, 0.0
    walk.see(at_s, (place, 100))
    for _ in range(round(3 * fps)):
        place, at_s = place + 50 / fps, at_s + 1 / fps
        walk.see(at_s, (place, 100))
    for _ in range(round(memory_s * fps)):
        at_s += 1 / fps
        walk.see(at_s, (place, 100))
    left = walk.predicted(at_s + 1.0)[0] - place
    # With few frames in the memory's time the plain mean does not matter any more: 3 s came before.
    assert left == pytest.approx(50 / np.e, rel=0.02)


def test_the_first_shifts_are_averaged_plainly() -> None:
    walk = Walk(TrackerOptions(velocity_memory_s=100.0))
    for index, place in enumerate((100.0, 101.0, 104.0, 106.0)):
        walk.see(index * 0.1, (place, 100))
    # Shifts of 1, 3 and 2 pixels in a tenth of a second each.
    assert walk.predicted(1.3)[0] - 106.0 == pytest.approx(20.0, abs=0.1)


def test_one_keypoint_that_jumps_does_not_move_the_person() -> None:
    walk = Walk()
    still = persons_at([(200, 200)])
    walk.take(0.0, still)
    jumped = persons_at([(200, 200)])
    jumped.keypoints_px[0, 9] += 40
    walk.take(0.04, jumped)
    assert walk.predicted(0.24) == pytest.approx((200, 200), abs=1e-6)


def test_only_keypoints_that_both_frames_show_tell_the_velocity() -> None:
    walk = Walk()
    first, second = persons_at([(200, 200)]), persons_at([(204, 200)])
    # Most of the second frame are guesses elsewhere.
    second.keypoint_scores[0, 5:] = 0.19
    second.keypoints_px[0, 5:] += 300
    first.keypoint_scores[0, :5] = 0.2
    second.keypoint_scores[0, :5] = 0.2
    walk.take(0.0, first)
    walk.take(0.04, second)
    track = walk.tracker._tracks[0]
    assert (track.velocity_px_per_ns * _S).tolist() == pytest.approx([100.0, 0.0], abs=0.1)


def test_a_frame_of_the_same_time_or_an_earlier_one_changes_no_velocity() -> None:
    walk = Walk()
    walk.see(0.0, (100, 100))
    walk.see(0.1, (110, 100))
    for at_s in (0.1, 0.05):
        walk.see(at_s, (112, 100))
        assert (walk.tracker._tracks[0].velocity_px_per_ns * _S).tolist() == pytest.approx([100.0, 0.0])


def farthest(options: TrackerOptions, missed_s: float, height_px: float = 100.0) -> float:
    """How far from where it stood a person is still known, after so long unseen."""
    near, far = 0.0, 10 * height_px
    while far - near > 0.01:
        middle = (near + far) / 2
        walk = Walk(options)
        walk.see(0.0, (0, 0), height_px=height_px)
        walk.see(0.001, (0, 0), height_px=height_px)
        same = walk.see(0.001 + missed_s, (middle, 0), height_px=height_px) == [1]
        near, far = (middle, far) if same else (near, middle)
    return near


def test_the_search_widens_by_seven_tenths_of_the_person_a_second() -> None:
    options = TrackerOptions(max_missed_s=100)
    at_once = farthest(options, 0.0)
    assert farthest(options, 1.0) / at_once == pytest.approx(1.7, rel=1e-3)
    assert farthest(options, 2.0) / at_once == pytest.approx(2.4, rel=1e-3)
    assert farthest(TrackerOptions(max_missed_s=100, widening_per_s=0.0), 2.0) == pytest.approx(
        at_once, rel=1e-3
    )


def test_the_search_is_as_wide_as_the_person_is_large() -> None:
    assert farthest(TrackerOptions(), 0.0, 200.0) / farthest(TrackerOptions(), 0.0) == pytest.approx(
        2, rel=1e-3
    )


def test_a_person_may_be_about_a_fifth_of_the_own_height_beside_the_prediction() -> None:
    assert 15 < farthest(TrackerOptions(), 0.0) < 30


def test_somebody_very_small_is_looked_for_as_if_eight_pixels_tall() -> None:
    tiny, eight = farthest(TrackerOptions(), 0.0, 2.0), farthest(TrackerOptions(), 0.0, 8.0 / 0.96)
    assert tiny == pytest.approx(eight, rel=1e-2)


def test_somebody_seen_from_the_side_is_no_smaller() -> None:
    def known_at(squeezed: float, distance: float) -> bool:
        tracker = OksTracker()
        for at_ns, x in ((0, 0.0), (1, distance)):
            poses = persons_at([(0, 0)])
            poses.keypoints_px[..., 0] *= squeezed
            poses.keypoints_px[..., 0] += x
            ids = tracker.update(poses, at_ns).track_ids
        assert ids is not None
        return ids.tolist() == [1]

    reach = farthest(TrackerOptions(), 0.0)
    for squeezed in (1.0, 0.1):
        assert known_at(squeezed, 0.98 * reach)
        assert not known_at(squeezed, 1.02 * reach)


def test_a_track_ends_after_just_more_than_its_time() -> None:
    def returned_after(gap_s: float) -> list[int]:
        walk = Walk(TrackerOptions(max_missed_s=2.0))
        walk.see(0.0, (100, 100))
        walk.see(gap_s)
        return walk.see(gap_s, (100, 100))

    assert returned_after(2.0) == [1]
    assert returned_after(2.001) == [2]
