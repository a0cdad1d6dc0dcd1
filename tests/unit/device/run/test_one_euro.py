"""Steady at rest, prompt in motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.device.run.smoothing import PoseSmoother, SmoothingOptions, lag_frames
from edgepose.pose.poses import Poses
from tests.support.pictures import persons_at

_HEIGHT_PX = 200.0
_FPS = 30.0


def _person(x_px: float, y_px: float = 200.0, track_id: int = 1, score: float = 0.9) -> Poses:
    poses = persons_at([(x_px, y_px)], _HEIGHT_PX, score)
    return replace(poses, track_ids=np.array([track_id]))


def _smoothed(
    poses: list[Poses], options: SmoothingOptions | None = None, fps: float = _FPS
) -> NDArray[np.float64]:
    smoother = PoseSmoother(options)
    shown = [smoother.update(p, round(i * 1e9 / fps)).keypoints_px[0] for i, p in enumerate(poses)]
    return np.stack(shown).astype(np.float64)


def _jittered(frames: int, share: float) -> list[Poses]:
    """Somebody at rest whose keypoints are off by a share of the height."""
    rng, still = np.random.default_rng(3), _person(300)
    noise = rng.normal(0, share * _HEIGHT_PX, (frames, 1, 17, 2)).astype(np.float32)
    return [replace(still, keypoints_px=still.keypoints_px + shift) for shift in noise]


@pytest.mark.parametrize("fps", [15.0, 30.0])
@pytest.mark.parametrize("share", [0.003, 0.006])
def test_jitter_at_rest_falls_by_sixty_percent(fps: float, share: float) -> None:
    poses = _jittered(240, share)
    raw = np.stack([p.keypoints_px[0] for p in poses])[60:]
    shown = _smoothed(poses, fps=fps)[60:]
    assert shown.std(axis=0).mean() < 0.4 * raw.std(axis=0).mean()
    # Negative control: a filter without smoothing at rest keeps the jitter.
    open_filter = _smoothed(poses, SmoothingOptions(min_cutoff_hz=1000.0), fps=fps)[60:]
    assert open_filter.std(axis=0).mean() > 0.9 * raw.std(axis=0).mean()


@pytest.mark.parametrize("speed", [0.4, 0.8, 2.0])
def test_the_lag_in_even_motion_is_below_a_frame_and_as_stated(speed: float) -> None:
    step_px = speed * _HEIGHT_PX * 0.96 / _FPS  # the keypoints' extent is 0.96 heights
    shown = _smoothed([_person(100 + step_px * i) for i in range(120)])
    behind_px = np.stack([_person(100 + step_px * i).keypoints_px[0] for i in range(120)])[-1] - shown[-1]
    lag = float(behind_px[:, 0].mean() / step_px)
    assert lag < 1.0
    assert lag == pytest.approx(lag_frames(speed, _FPS), rel=0.15)


def test_somebody_slow_lags_more_than_the_promise_and_the_statement_says_so() -> None:
    """The negative control of the test above."""
    assert lag_frames(0.05, _FPS) > 2


_coordinates = st.floats(-1000, 5000, width=32)


@given(_coordinates, _coordinates, st.floats(0, 1), st.lists(st.integers(1, 10**9), min_size=1, max_size=8))
def test_somebody_who_does_not_move_is_shown_where_he_is(
    x: float, y: float, score: float, gaps_ns: list[int]
) -> None:
    smoother, still, time_ns = PoseSmoother(), _person(x, y, score=score), 0
    for gap_ns in gaps_ns:
        assert np.array_equal(smoother.update(still, time_ns).keypoints_px, still.keypoints_px)
        time_ns += gap_ns


@given(st.lists(st.floats(0, 2000, width=32), min_size=2, max_size=12), st.floats(0.01, 1))
def test_what_is_shown_stays_between_what_was_seen(places: list[float], score: float) -> None:
    shown = _smoothed([_person(x, score=score) for x in places])[:, 0, 0]
    assert shown.min() >= min(places) - 1e-2
    assert shown.max() <= max(places) + 1e-2


def test_the_smoothing_does_not_depend_on_the_size_of_the_picture() -> None:
    small = _jittered(60, 0.005)
    large = [replace(p, keypoints_px=p.keypoints_px * 4) for p in small]
    assert _smoothed(large) == pytest.approx(_smoothed(small) * 4, rel=1e-4)


def test_a_doubtful_keypoint_moves_less() -> None:
    def after_a_jump(score: float) -> float:
        jump = [_person(100, score=score), _person(110, score=score)]
        return float(_smoothed(jump)[-1, 0, 0])

    assert 100 < after_a_jump(0.05) < after_a_jump(0.9) < 110


def test_persons_do_not_mix_and_a_new_id_starts_anew() -> None:
    smoother = PoseSmoother()
    smoother.update(_person(100, track_id=1), 0)
    assert smoother.update(_person(400, track_id=2), 33_000_000).keypoints_px[0, 0, 0] == 400
    assert smoother.update(_person(104, track_id=1), 66_000_000).keypoints_px[0, 0, 0] < 104


def test_after_a_long_absence_the_filter_starts_anew() -> None:
    smoother = PoseSmoother(SmoothingOptions(forget_s=0.5))
    smoother.update(_person(100), 0)
    assert smoother.update(_person(104), 600_000_000).keypoints_px[0, 0, 0] == 104
    # Negative control: after a short one it goes on.
    assert smoother.update(_person(108), 900_000_000).keypoints_px[0, 0, 0] < 108


def test_scores_boxes_and_ids_stay() -> None:
    smoother = PoseSmoother()
    smoother.update(_person(100), 0)
    moved = _person(130)
    shown = smoother.update(moved, 33_000_000)
    assert shown.keypoint_scores is moved.keypoint_scores
    assert shown.boxes_xyxy_px is moved.boxes_xyxy_px
    assert shown.track_ids is moved.track_ids


def test_two_pictures_of_one_moment_do_not_divide_by_zero() -> None:
    smoother = PoseSmoother()
    for _ in range(3):
        assert np.isfinite(smoother.update(_person(100), 0).keypoints_px).all()


def test_persons_without_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="tracked"):
        PoseSmoother().update(persons_at([(1, 1)]), 0)
