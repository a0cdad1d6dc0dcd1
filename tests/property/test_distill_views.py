"""Picture, teacher's maps and keypoints go through one map, held against Gaussians drawn in place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.host.distill.augmentation import (
    NO_AUGMENTATION,
    AugmentationSettings,
    Subject,
    View,
    apply_affine,
    compose,
    inverse,
    random_view,
    view_matrix,
)
from edgepose.host.distill.batches import (
    BatchSettings,
    BatchSource,
    Target,
    cells_to_cells,
    flipped,
    warp_maps,
)
from edgepose.host.distill.students import STUDENT_SKELETON
from edgepose.pose.codecs.heatmap import HeatmapCodec, decode_heatmaps
from edgepose.pose.transform import crop_transform
from tests.support.distill_samples import TEACHER_INPUT_WH, TINY, sample_cache, teacher_maps

BOX = np.array([20.0, 30.0, 80.0, 120.0])
angles = st.floats(-1.2, 1.2)
heights = st.floats(90.0, 220.0)
shifts = st.floats(-8.0, 8.0)


def _teacher_cells() -> np.ndarray:
    view = crop_transform(BOX, TEACHER_INPUT_WH, 1.25)
    return np.array([*view.scale_xy, *view.offset_xy]) / 4


def _warped(view: View, points_px: np.ndarray, shift_cells: float = 0.0) -> np.ndarray:
    teacher = crop_transform(BOX, TEACHER_INPUT_WH, 1.25)
    maps = teacher_maps(teacher.to_input(points_px).astype(np.float32))
    matrix = cells_to_cells(view, _teacher_cells(), (4.0, 4.0))
    matrix[:, 2] += shift_cells
    return warp_maps(maps, matrix, TINY.map_wh, len(points_px)).transpose(2, 0, 1)


def _worst_error_cells(view: View, points_px: np.ndarray, shift_cells: float = 0.0) -> float:
    """Between the peaks of the moved maps and the moved keypoints, where the view shows them well."""
    expected = apply_affine(view.matrix, points_px) / 4
    found, scores = decode_heatmaps(_warped(view, points_px, shift_cells), "dark")
    well_inside = ((expected > 2.5) & (expected < np.array(TINY.map_wh) - 3.5)).all(axis=1) & (scores > 0.3)
    return float(np.abs(found - expected)[well_inside].max(initial=0.0))


@given(angle=angles, height=heights, dx=shifts, dy=shifts, mirrored=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_moved_maps_peak_where_the_moved_keypoints_are(
    angle: float, height: float, dx: float, dy: float, mirrored: bool, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(BOX[:2] + 12, BOX[2:] - 12, (17, 2))
    centre = np.array([50.0 + dx, 75.0 + dy])
    view = View(view_matrix(centre, height, angle, TINY.input_wh, mirrored=mirrored), mirrored)
    assert _worst_error_cells(view, points) < 0.25


def test_the_check_of_moved_maps_would_notice_half_a_cell() -> None:
    points = np.random.default_rng(1).uniform(BOX[:2] + 12, BOX[2:] - 12, (17, 2))
    view = View(view_matrix(np.array([50.0, 75.0]), 120.0, 0.3, TINY.input_wh, mirrored=False), False)
    assert _worst_error_cells(view, points) < 0.25
    assert _worst_error_cells(view, points, shift_cells=0.5) > 0.35


def test_a_moved_map_equals_a_gaussian_drawn_at_the_moved_keypoint() -> None:
    points = np.array([[45.0, 70.0], [55.0, 80.0]])
    view = View(view_matrix(np.array([50.0, 75.0]), 112.5, 0.0, TINY.input_wh, mirrored=False), False)
    moved = _warped(view, points)
    # The teacher's map is twice as fine here, so its spread of 2 cells is 1 cell of the student.
    codec = HeatmapCodec(2, TINY.input_wh)
    drawn = codec.encode(
        apply_affine(view.matrix, points).astype(np.float32), np.ones(2, bool), TINY.map_wh, 1.0
    )
    assert np.abs(moved - drawn).max() < 0.06


@given(angle=angles, height=heights, mirrored=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_way_back_undoes_a_view(angle: float, height: float, mirrored: bool) -> None:
    matrix = view_matrix(np.array([50.0, 75.0]), height, angle, (48, 64), mirrored=mirrored)
    assert np.allclose(compose(matrix, inverse(matrix)), [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_the_plain_view_is_the_crop_of_the_shipping_pipeline() -> None:
    rng = np.random.default_rng(0)
    subject = Subject(BOX, np.zeros((17, 2)), np.zeros(17, bool))
    view = random_view(subject, (48, 64), NO_AUGMENTATION, rng, STUDENT_SKELETON)
    assert np.allclose(view.matrix, crop_transform(BOX, (48, 64), 1.25).matrix)
    assert not view.mirrored


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_picture_moves_with_the_keypoints(mirrored: bool) -> None:
    picture = np.zeros((150, 110, 3), np.uint8)
    point = np.array([62.0, 71.0])
    cv2.circle(picture, (62, 71), 3, (255, 255, 255), -1)
    matrix = view_matrix(np.array([50.0, 75.0]), 64.0, 0.4, (48, 64), mirrored=mirrored)
    shown = cv2.warpAffine(picture, matrix, (48, 64))[..., 0].astype(float)
    rows, columns = np.indices(shown.shape)
    middle = np.array([(columns * shown).sum(), (rows * shown).sum()]) / shown.sum()
    assert np.abs(middle - apply_affine(matrix, point)).max() < 0.1


def test_mirrored_targets_swap_left_and_right_and_nothing_else() -> None:
    maps = np.arange(2 * 3 * 17, dtype=np.float32).reshape(2, 3, 17)
    target = Target(maps, np.arange(17, dtype=np.float32))
    swapped = flipped(target)
    names = STUDENT_SKELETON.keypoint_names
    for index, name in enumerate(names):
        other = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert swapped.weights[index] == names.index(other)
        assert np.array_equal(swapped.maps[..., index], maps[..., names.index(other)])
    assert np.array_equal(flipped(swapped).maps, maps)


def test_half_body_views_show_half_of_the_body_only_where_it_is_known() -> None:
    points = np.zeros((17, 2))
    upper = np.arange(17) < 11
    points[upper] = np.random.default_rng(0).uniform((40, 35), (60, 55), (11, 2))
    always = AugmentationSettings(
        shift=0, log_scale=0, rotation_share=0, half_body_share=1.0, flip_share=0, occlusion_share=0
    )
    windows = []
    for known in (upper, np.zeros(17, bool)):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            view = random_view(Subject(BOX, points, known), (48, 64), always, rng, STUDENT_SKELETON)
            windows.append(64 / view.matrix[1, 1])
    whole = 64 / crop_transform(BOX, (48, 64), 1.25).scale_xy[1]
    assert min(windows[:20]) < 0.6 * whole
    assert np.allclose(windows[20:], whole)


def test_batches_are_a_function_of_seed_and_step() -> None:
    cache = sample_cache()
    first, again, other = (BatchSource(cache, TINY, BatchSettings(4, seed)) for seed in (3, 3, 4))
    again.batch(0)
    assert np.array_equal(first.batch(5).pictures, again.batch(5).pictures)
    assert np.array_equal(first.batch(5).targets, again.batch(5).targets)
    assert not np.array_equal(first.batch(5).pictures, first.batch(6).pictures)
    assert not np.array_equal(first.batch(5).pictures, other.batch(5).pictures)


def test_the_stream_gives_the_batches_of_its_steps_in_order() -> None:
    source = BatchSource(sample_cache(), TINY, BatchSettings(2, 0))
    stream = source.stream(7)
    taken = [next(stream) for _ in range(5)]
    stream.close()
    for step, batch in enumerate(taken, start=7):
        assert np.array_equal(batch.targets, source.batch(step).targets)
