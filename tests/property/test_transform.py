"""Where pixels land: half a pixel costs TinyPose 8 AP, so each convention is pinned to an oracle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.pose.transform import (
    ImageTransform,
    crop_transform,
    letterbox_transform,
    stretch_transform,
)
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.preprocess import Preprocessor

Image = NDArray[np.uint8]
SIDE = st.integers(1, 2000)
POINT = st.floats(-3000, 3000)


def smooth_picture(width: int, height: int, seed: int = 0) -> Image:
    """Random colours without steps, so that a shifted sample shows and a rounding does not."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def spec(resize: str, width: int, height: int, **fields: object) -> InputSpec:
    return InputSpec(
        width_px=width,
        height_px=height,
        layout="NHWC",
        color_order="RGB",
        resize=resize,  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def written(image: Image, input_spec: InputSpec, box: tuple[float, ...] | None = None) -> Image:
    """The picture that a uint8 model without normalization gets."""
    shape = (1, input_spec.height_px, input_spec.width_px, 3)
    preprocessor = Preprocessor(input_spec, TensorInfo("in", shape, np.dtype(np.uint8)))
    tensor = np.zeros(shape, np.uint8)
    preprocessor.write(image, preprocessor.transform_for(image, box), tensor)
    return tensor[0]


def difference(first: Image, second: Image) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@settings(max_examples=100, deadline=None)
@given(
    x=POINT,
    y=POINT,
    image_wh=st.tuples(SIDE, SIDE),
    input_wh=st.tuples(st.integers(8, 512), st.integers(8, 512)),
    kind=st.sampled_from(["crop", "letterbox", "top_left", "stretch"]),
)
def test_to_image_undoes_to_input(
    x: float, y: float, image_wh: tuple[int, int], input_wh: tuple[int, int], kind: str
) -> None:
    transform = {
        "crop": lambda: crop_transform((x, y, x + image_wh[0], y + image_wh[1]), input_wh, 1.25),
        "letterbox": lambda: letterbox_transform(image_wh, input_wh, centred=True),
        "top_left": lambda: letterbox_transform(image_wh, input_wh, centred=False),
        "stretch": lambda: stretch_transform(image_wh, input_wh),
    }[kind]()
    points = np.array([[x, y], [0, 0], image_wh])
    there = transform.to_input(points)
    np.testing.assert_allclose(transform.to_image(there), points, atol=1e-5)
    # The 2x3 matrix says the same.
    np.testing.assert_allclose(np.c_[points, np.ones(3)] @ transform.matrix.T, there, rtol=1e-9, atol=1e-6)
    boxes = np.concatenate([there[0], there[2]])[None]
    np.testing.assert_allclose(transform.boxes_to_image(boxes), [[x, y, *image_wh]], atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(x=POINT, x0=POINT, w=st.floats(1, 900), h=st.floats(1, 900), scale=st.floats(1, 1.5))
def test_a_crop_is_x_minus_x0_times_input_over_box(  # the convention that every figure was measured with
    x: float, x0: float, w: float, h: float, scale: float
) -> None:
    width, height = 192, 256
    grown_w = max(w, h * width / height) * scale
    left = x0 + w / 2 - grown_w / 2
    transform = crop_transform((x0, 0, x0 + w, h), (width, height), scale)
    assert transform.to_input((x, 0))[0] == pytest.approx((x - left) * width / grown_w, rel=1e-9, abs=1e-6)


def test_the_corners_of_the_grown_box_are_the_corners_of_the_input() -> None:
    transform = crop_transform((10, 20, 58, 84), (192, 256), 1.25)  # 48x64 has the aspect already
    np.testing.assert_allclose(transform.to_input((4, 12)), (0, 0), atol=1e-9)
    np.testing.assert_allclose(transform.to_input((64, 92)), (192, 256))


@pytest.mark.parametrize(
    ("image_wh", "centred", "corner_px", "far_px"),
    [
        ((200, 100), True, (0, 25), (100, 75)),
        ((200, 100), False, (0, 0), (100, 50)),
        ((50, 100), True, (25, 0), (75, 100)),
        ((100, 100), True, (0, 0), (100, 100)),
    ],
    ids=["wide, centred", "wide, top left", "upright, centred", "square"],
)
def test_letterbox_corners(
    image_wh: tuple[int, int], centred: bool, corner_px: tuple[int, int], far_px: tuple[int, int]
) -> None:
    transform = letterbox_transform(image_wh, (100, 100), centred=centred)
    np.testing.assert_allclose(transform.to_input([(0, 0), image_wh]), [corner_px, far_px], atol=1e-9)


SIZES = [
    pytest.param((640, 480), (160, 120), id="a quarter"),
    pytest.param((100, 75), (200, 150), id="twice as large"),
    pytest.param((333, 250), (120, 90), id="an odd factor"),
    pytest.param((64, 64), (64, 64), id="unchanged"),
]
GREY_LEVELS = 3


@pytest.mark.parametrize(("image_wh", "input_wh"), SIZES)
def test_a_stretched_picture_is_the_one_of_cv2_resize(
    image_wh: tuple[int, int], input_wh: tuple[int, int]
) -> None:
    image = smooth_picture(*image_wh)
    found = written(image, spec("stretch", *input_wh))
    assert difference(found, np.asarray(cv2.resize(image, input_wh), np.uint8)) <= GREY_LEVELS


@pytest.mark.parametrize("anchor", ["center", "top_left"])
@pytest.mark.parametrize(
    ("image_wh", "inner_wh"),
    [((640, 320), (160, 80)), ((80, 40), (160, 80)), ((240, 480), (80, 160))],
    ids=["wide", "wide, enlarged", "upright"],
)
def test_a_letterboxed_picture_is_cv2_resize_with_a_border(
    image_wh: tuple[int, int], inner_wh: tuple[int, int], anchor: str
) -> None:
    image = smooth_picture(*image_wh)
    left, top = [(160 - inner) // 2 if anchor == "center" else 0 for inner in inner_wh]
    expected = np.full((160, 160, 3), 114, np.uint8)
    expected[top : top + inner_wh[1], left : left + inner_wh[0]] = cv2.resize(image, inner_wh)
    found = written(image, spec("letterbox", 160, 160, anchor=anchor, pad_value=114))
    # Where the picture meets the padding an enlarged picture blends into it by less than a pixel.
    inside = np.s_[top + 1 : top + inner_wh[1] - 1, left + 1 : left + inner_wh[0] - 1]
    assert difference(found[inside], expected[inside]) <= GREY_LEVELS
    outside = np.ones((160, 160), bool)
    outside[max(top - 1, 0) : top + inner_wh[1] + 1, max(left - 1, 0) : left + inner_wh[0] + 1] = False
    assert set(np.unique(found[outside])) == {114}


@pytest.mark.parametrize(("image_wh", "input_wh"), [SIZES[0].values, SIZES[2].values])
def test_the_comparison_with_cv2_resize_notices_a_wrong_half_pixel(
    image_wh: tuple[int, int], input_wh: tuple[int, int]
) -> None:
    image = smooth_picture(*image_wh)
    right = stretch_transform(image_wh, input_wh)
    wrong = ImageTransform(right.scale_xy, right.offset_xy, right.input_wh, resize_about_centres=False)
    preprocessor = Preprocessor(
        spec("stretch", *input_wh), TensorInfo("in", (1, input_wh[1], input_wh[0], 3), np.dtype(np.uint8))
    )
    tensor = np.zeros((1, input_wh[1], input_wh[0], 3), np.uint8)
    preprocessor.write(image, wrong, tensor)
    assert difference(tensor[0], np.asarray(cv2.resize(image, input_wh), np.uint8)) > GREY_LEVELS


@pytest.mark.parametrize("box", [(50, 40, 110, 180), (-30, -20, 60, 90), (150, 100, 400, 300)])
def test_a_crop_is_a_direct_warp_with_the_published_matrix(box: tuple[float, ...]) -> None:
    image = smooth_picture(200, 220)
    x0, y0, x1, y1 = box
    width, height = max(x1 - x0, (y1 - y0) * 0.75) * 1.25, max((x1 - x0) / 0.75, y1 - y0) * 1.25
    left, top = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    matrix = np.array([[96 / width, 0, -left * 96 / width], [0, 128 / height, -top * 128 / height]])
    expected = np.asarray(cv2.warpAffine(image, matrix, (96, 128), flags=cv2.INTER_LINEAR), np.uint8)
    np.testing.assert_array_equal(written(image, spec("crop", 96, 128), box), expected)


def test_a_model_on_crops_sees_the_whole_picture_without_a_box_and_unscaled() -> None:
    image = smooth_picture(60, 80)
    np.testing.assert_array_equal(written(image, spec("crop", 60, 80)), image)


@pytest.mark.parametrize("resize", ["crop", "letterbox", "stretch"])
@pytest.mark.parametrize("dot_px", [(40, 60), (100, 33), (61, 97)])
def test_a_drawn_dot_lands_where_to_input_says(resize: str, dot_px: tuple[int, int]) -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, dot_px, 5, (255, 255, 255), -1)
    input_spec = spec(resize, 96, 128)
    box = (20, 10, 120, 110) if resize == "crop" else None
    shape = (1, 128, 96, 3)
    preprocessor = Preprocessor(input_spec, TensorInfo("in", shape, np.dtype(np.uint8)))
    transform = preprocessor.transform_for(image, box)
    light = written(image, input_spec, box)[..., 0].astype(float)
    y, x = np.mgrid[:128, :96]
    centre = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    # The dot's pixel index is (x, y); sampled about centres its middle is (x + 0.5, y + 0.5).
    half = 0.5 if transform.resize_about_centres else 0.0
    np.testing.assert_allclose(centre + half, transform.to_input(np.add(dot_px, half)), atol=0.1)
