"""The input tensor against plain formulas, for every layout, colour order and element type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import Tensor, TensorInfo
from edgepose.runtime.preprocess import Preprocessor, expected_shape

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WIDTH, HEIGHT = 6, 4


def input_spec(layout: str = "NHWC", order: str = "RGB", *, normalized: bool = True) -> InputSpec:
    # No resizing: the picture has the input's size, so that only the table is tested here.
    return InputSpec(
        width_px=WIDTH,
        height_px=HEIGHT,
        layout=layout,  # type: ignore[arg-type]
        color_order=order,  # type: ignore[arg-type]
        resize="stretch",
        mean=MEAN if normalized else (0, 0, 0),
        std=STD if normalized else (1, 1, 1),
    )


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def written(spec: InputSpec, info: TensorInfo, image: NDArray[np.uint8]) -> Tensor:
    preprocessor = Preprocessor(spec, info)
    tensor = np.full(info.shape, 77, info.dtype)
    preprocessor.write(image, preprocessor.transform_for(image, None), tensor)
    return tensor


def real_values(spec: InputSpec, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(value - mean) / std in the spec's colour order and layout."""
    ordered = image[..., ::-1] if spec.color_order == "BGR" else image
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    real = (ordered.astype(np.float32) - mean) / std
    return np.asarray(real.transpose(2, 0, 1)[None] if spec.layout == "NCHW" else real[None])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    order=st.sampled_from(["RGB", "BGR"]),
    normalized=st.booleans(),
)
def test_float_inputs_hold_exactly_value_minus_mean_over_std(
    seed: int, layout: str, order: str, normalized: bool
) -> None:
    spec, image = input_spec(layout, order, normalized=normalized), picture(seed)
    found = written(spec, TensorInfo("in", expected_shape(spec), np.dtype(np.float32)), image)
    np.testing.assert_array_equal(found, real_values(spec, image))


def test_mean_and_std_follow_the_colour_order() -> None:
    """For BGR the first mean is blue's; the comparison would notice the other reading."""
    spec, image = input_spec(order="BGR"), picture()
    found = written(spec, TensorInfo("in", expected_shape(spec), np.dtype(np.float32)), image)
    other = real_values(input_spec(order="RGB"), image)[..., ::-1]
    assert np.abs(found - other).max() > 0.1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_float16_inputs_hold_the_rounded_values(layout: str) -> None:
    spec, image = input_spec(layout), picture()
    found = written(spec, TensorInfo("in", expected_shape(spec), np.dtype(np.float16)), image)
    np.testing.assert_array_equal(found, real_values(spec, image).astype(np.float16))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [(np.int8, 0.0187, -14), (np.uint8, 0.0187, 114), (np.int8, 0.009, 3)],
    ids=["int8", "uint8", "int8 with a range too small: clipped, not wrapped around"],
)
def test_quantized_inputs_are_rounded_and_clipped(
    layout: str, dtype: type[np.integer], scale: float, zero_point: int
) -> None:
    spec, image = input_spec(layout), picture()
    found = written(spec, TensorInfo("in", expected_shape(spec), np.dtype(dtype), scale, zero_point), image)
    limits = np.iinfo(dtype)
    steps = real_values(spec, image).astype(np.float64) / scale + zero_point
    assert found.dtype == dtype
    assert np.abs(found - np.clip(steps, limits.min, limits.max)).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_raw_pixels_reach_an_integer_input_unchanged(dtype: type[np.integer]) -> None:
    spec, image = input_spec(normalized=False), picture()
    found = written(spec, TensorInfo("in", expected_shape(spec), np.dtype(dtype)), image)
    np.testing.assert_array_equal(found[0], image)


def test_normalized_values_in_an_integer_input_without_scale_are_refused() -> None:
    spec = input_spec()
    with pytest.raises(ModelError, match="grey levels"):
        Preprocessor(spec, TensorInfo("in", expected_shape(spec), np.dtype(np.uint8)))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, HEIGHT, WIDTH), "the other layout"),
        ((1, WIDTH, HEIGHT, 3), "width and height swapped"),
        ((1, HEIGHT, WIDTH, 1), "grey"),
        ((2, HEIGHT, WIDTH, 3), "batch of 2"),
        ((HEIGHT, WIDTH, 3), "no batch"),
        ((1, HEIGHT + 1, WIDTH, 3), "one row more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_of_another_shape_is_refused_with_both_shapes(shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ModelError) as refused:
        Preprocessor(input_spec(), TensorInfo("in", shape, np.dtype(np.float32)))
    assert str(shape) in refused.value.message, reason
    assert str((1, HEIGHT, WIDTH, 3)) in refused.value.message


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((HEIGHT, WIDTH), np.uint8),
        np.zeros((HEIGHT, WIDTH, 4), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3), np.float32),
    ],
    ids=["grey", "with alpha", "float"],
)
def test_a_picture_of_another_kind_never_leaves_the_previous_one_in_the_input(image: NDArray) -> None:  # type: ignore[type-arg]
    spec = input_spec()
    with pytest.raises(ValueError, match="uint8"):
        written(spec, TensorInfo("in", expected_shape(spec), np.dtype(np.float32)), image)


def test_a_mirrored_view_of_a_picture_is_read_as_it_looks() -> None:
    spec, image = input_spec(normalized=False), picture()
    info = TensorInfo("in", expected_shape(spec), np.dtype(np.uint8))
    np.testing.assert_array_equal(written(spec, info, image[:, ::-1])[0], image[:, ::-1])


@settings(max_examples=50, deadline=None)
@given(
    scale=st.floats(1e-4, 10),
    zero_point=st.integers(-128, 127),
    values=st.lists(st.floats(-1e3, 1e3), min_size=1),
)
def test_quantize_then_dequantize_is_within_half_a_step_or_at_the_end_of_the_range(
    scale: float, zero_point: int, values: list[float]
) -> None:
    info = TensorInfo("t", (1,), np.dtype(np.int8), scale, zero_point)
    real = np.asarray(values, np.float64)
    back = info.dequantize(info.quantize(real)).astype(np.float64)
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale
    assert np.abs(back - np.clip(real, low, high)).max() <= scale * 0.5001 + 1e-3
