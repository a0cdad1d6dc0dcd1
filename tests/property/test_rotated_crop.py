"""The turned crop, against OpenCV's rotated rectangles, and back."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.pose.transform import RotatedCrop, crop_transform, upright_crop, whole_picture
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.preprocess import Preprocessor

places = st.floats(-500, 1500)
angles = st.floats(-math.pi, math.pi)
crops = st.builds(
    RotatedCrop,
    centre_px=st.tuples(places, places),
    side_px=st.floats(8, 3000),
    rotation=angles,
    input_px=st.sampled_from([64, 224, 256]),
)
points = st.lists(st.tuples(places, places), min_size=1, max_size=8).map(np.array)


@given(crops)
def test_the_corners_of_the_input_are_those_of_opencvs_rotated_rectangle(crop: RotatedCrop) -> None:
    rectangle = (crop.centre_px, (crop.side_px, crop.side_px), math.degrees(crop.rotation))
    # boxPoints starts at the bottom left and goes clockwise, in single precision.
    corners_px, end = cv2.boxPoints(rectangle), crop.input_px
    corners_input_px = [[0, end], [0, 0], [end, 0], [end, end]]
    assert np.allclose(crop.to_image(corners_input_px), corners_px, rtol=1e-5, atol=2e-3)
    assert not np.allclose(crop.to_image(corners_input_px[::-1]), corners_px, rtol=1e-5, atol=2e-3)


@given(crops, points)
def test_back_in_the_picture_points_are_where_they_were(
    crop: RotatedCrop, points_px: NDArray[np.float64]
) -> None:
    assert np.allclose(crop.to_image(crop.to_input(points_px)), points_px, atol=1e-6)
    matrix = crop.matrix
    assert np.allclose(points_px @ matrix[:, :2].T + matrix[:, 2], crop.to_input(points_px), atol=1e-9)


@given(st.tuples(places, places), st.floats(8, 900), st.sampled_from([64, 256]), points)
def test_an_upright_crop_is_the_crop_that_other_models_get(
    centre_px: tuple[float, float], side_px: float, input_px: int, points_px: NDArray[np.float64]
) -> None:
    half = side_px / 2
    box = [centre_px[0] - half, centre_px[1] - half, centre_px[0] + half, centre_px[1] + half]
    other = crop_transform(box, (input_px, input_px), 1.0)
    crop = RotatedCrop(centre_px, side_px, 0.0, input_px)
    assert np.allclose(crop.to_input(points_px), other.to_input(points_px), atol=1e-6)


@given(st.tuples(places, places), angles, st.floats(1, 800), st.floats(1, 2))
def test_the_second_point_comes_to_lie_straight_above_the_first(
    centre_px: tuple[float, float], angle: float, radius_px: float, box_scale: float
) -> None:
    above_px = (centre_px[0] + radius_px * math.cos(angle), centre_px[1] + radius_px * math.sin(angle))
    crop = upright_crop(centre_px, above_px, box_scale, 256)
    assert crop is not None
    centre, above = crop.to_input([centre_px, above_px])
    assert centre == pytest.approx([128, 128], abs=1e-6)
    # The radius fills half the square before it grows.
    assert above == pytest.approx([128, 128 - 128 / box_scale], abs=1e-6)


@pytest.mark.parametrize("above_px", [(10.0, 20.0), (10.2, 20.2), (math.nan, 3.0), (math.inf, 3.0)])
def test_two_points_in_one_place_tell_no_crop(above_px: tuple[float, float]) -> None:
    assert upright_crop((10.0, 20.0), above_px, 1.25, 256) is None
    assert upright_crop((10.0, 20.0), (10.0, 19.0), 1.25, 256) is not None


@pytest.mark.parametrize("side_px", [0.0, -3.0, math.nan])
def test_a_crop_without_a_side_is_refused(side_px: float) -> None:
    with pytest.raises(ValueError, match="positive side"):
        RotatedCrop((1.0, 2.0), side_px, 0.0, 256)


def test_the_whole_picture_is_a_letterbox_about_its_centre() -> None:
    crop = whole_picture((400, 200), 224)
    assert crop.to_input([[0, 0], [400, 200]]) == pytest.approx(np.array([[0, 56], [224, 168]]))


@pytest.mark.parametrize("degrees", [0, 25, 90, -140])
def test_a_spot_in_the_picture_is_where_the_crop_says_and_nowhere_else(degrees: float) -> None:
    spot_px = (90.0, 160.0)
    picture = np.zeros((300, 240, 3), np.uint8)
    cv2.circle(picture, (90, 160), 4, (255, 255, 255), -1)
    crop = RotatedCrop((120.0, 150.0), 160.0, math.radians(degrees), 128)
    x, y = _centre_of_light(_written(picture, crop))
    assert (x, y) == pytest.approx(crop.to_input(spot_px), abs=0.15)
    # The other way round, as an angle of the wrong sign would turn it, the spot is elsewhere.
    wrong = RotatedCrop(crop.centre_px, crop.side_px, -crop.rotation, crop.input_px).to_input(spot_px)
    assert degrees == 0 or np.hypot(x - wrong[0], y - wrong[1]) > 2


def test_what_lies_outside_repeats_the_edge_only_where_asked() -> None:
    picture = np.full((50, 50, 3), 200, np.uint8)
    crop = RotatedCrop((25.0, 25.0), 200.0, 0.3, 64)
    assert _written(picture, crop, replicates_border=True).min() == 200
    assert _written(picture, crop).min() == 0


def _written(picture: NDArray[np.uint8], crop: RotatedCrop, **options: bool) -> NDArray[np.float32]:
    side = crop.input_px
    spec = InputSpec(width_px=side, height_px=side, layout="NHWC", color_order="RGB", resize="crop")
    info = TensorInfo("image", (1, side, side, 3), np.dtype(np.float32))
    tensor = np.zeros(info.shape, np.float32)
    Preprocessor(spec, info, **options).write(picture, crop, tensor)
    return tensor[0]


def _centre_of_light(picture: NDArray[np.float32]) -> tuple[float, float]:
    weight = picture[..., 0] / picture[..., 0].sum()
    rows, columns = np.indices(weight.shape)
    return float((weight * columns).sum()), float((weight * rows).sum())
