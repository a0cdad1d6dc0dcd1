"""Heatmap decoding against the published formulas, written down once more and on the whole map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.heatmap import HeatmapCodec, Subpixel, decode_heatmaps

Map = NDArray[np.float64]
WIDTH, HEIGHT = 24, 32


def published_dark(heatmap: Map) -> tuple[float, float]:
    """Zhang et al. 2020, eq. 4 to 8: smooth the whole map, take the logarithm, step to the maximum.

    Returns:
        The highest cell plus the step; the cell alone where the step is not defined (border, no maximum)
        or leads further than 1.5 cells.
    """
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    height, width = heatmap.shape
    smoothed = cv2.GaussianBlur(heatmap, (3, 3), 0)
    smoothed *= heatmap.max() / smoothed.max()
    surface = np.log(np.maximum(smoothed, 1e-10))
    if not (1 < column < width - 2 and 1 < row < height - 2):
        return float(column), float(row)

    def at(dx: int, dy: int) -> float:
        return float(surface[row + dy, column + dx])

    gradient = np.array([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]) / 2
    mixed = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    hessian = np.array(
        [
            [(at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4, mixed],
            [mixed, (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4],
        ]
    )
    if np.linalg.eigvalsh(hessian).max() >= -1e-7:
        return float(column), float(row)
    step = -np.linalg.solve(hessian, gradient)
    if abs(step).max() > 1.5:
        return float(column), float(row)
    return float(column + step[0]), float(row + step[1])


def bumps(seed: int, count: int = 6, noise: float = 0.02) -> NDArray[np.float32]:
    """(count, h, w): a Gaussian of random place, width and height on noise, some at the border."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    maps = []
    for _ in range(count):
        cx, cy = random.uniform(-1, WIDTH), random.uniform(-1, HEIGHT)
        sx, sy = random.uniform(0.8, 3, 2)
        maps.append(
            random.uniform(0.3, 1) * np.exp(-(((x - cx) / sx) ** 2) / 2 - ((y - cy) / sy) ** 2 / 2)
            + noise * random.random((HEIGHT, WIDTH))
        )
    return np.asarray(maps, np.float32)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0.0, 0.005, 0.05, 0.5]))
def test_dark_equals_the_published_formulas_on_the_whole_map(seed: int, noise: float) -> None:
    maps = bumps(seed, noise=noise)
    found, _ = decode_heatmaps(maps, "dark")
    expected = [published_dark(heatmap.astype(np.float64)) for heatmap in maps]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_comparison_with_the_formulas_notices_a_missing_blur() -> None:
    maps = bumps(3, noise=0.0)
    found, _ = decode_heatmaps(cv2.GaussianBlur(maps[0], (5, 5), 2)[None], "dark")
    assert np.abs(found[0] - published_dark(maps[0].astype(np.float64))).max() > 1e-3


def test_dark_on_noise_stays_near_the_highest_cell() -> None:
    noise = np.random.default_rng(0).random((500, HEIGHT, WIDTH)).astype(np.float32)
    cells, _ = decode_heatmaps(noise, "none")
    refined, _ = decode_heatmaps(noise, "dark")
    assert np.abs(refined - cells).max() <= 1.5


@pytest.mark.parametrize(
    ("subpixel", "limit_cells"),
    [("none", 0.5), ("quarter", 0.251), ("dark", 0.05)],
    ids=["none: half a cell", "quarter: a quarter", "dark: 0.05"],
)
@pytest.mark.parametrize("map_wh", [(48, 64), (24, 32)])
def test_a_gaussian_comes_back_where_it_was_put(
    subpixel: Subpixel, limit_cells: float, map_wh: tuple[int, int]
) -> None:
    random = np.random.default_rng(7)
    input_wh = (map_wh[0] * 4, map_wh[1] * 4)
    codec = HeatmapCodec(17, input_wh, subpixel)
    truth = random.uniform(16, np.array(input_wh) - 20, (17, 2)).astype(np.float32)
    maps = codec.encode(truth, np.ones(17, bool), map_wh, sigma=2.0)
    found = codec.decode({"heatmaps": maps[None]})
    worst_cells = np.abs(found.keypoints_input_px[0] - truth).max() / 4
    assert worst_cells <= limit_cells
    assert found.keypoint_scores.min() > 0.8


def test_the_round_trip_would_notice_half_a_pixel() -> None:
    codec = HeatmapCodec(1, (192, 256), "dark")
    truth = np.array([[100.0, 100.0]], np.float32)
    maps = codec.encode(truth + 0.5 * 4, np.ones(1, bool), (48, 64), sigma=2.0)
    assert np.abs(codec.decode({"h": maps[None]}).keypoints_input_px[0] - truth).max() / 4 > 0.4


def test_an_invisible_keypoint_has_an_empty_target_and_score_zero() -> None:
    codec = HeatmapCodec(2, (32, 32))
    maps = codec.encode(np.full((2, 2), 16, np.float32), np.array([True, False]), (16, 16), 2.0)
    assert maps.dtype == np.float32
    assert maps[1].max() == 0
    decoded = codec.decode({"h": maps[None]})
    np.testing.assert_allclose(decoded.keypoint_scores, [[1, 0]], atol=1e-6)
    assert decoded.scores[0] == pytest.approx(1.0), "the hidden keypoint does not pull the person's score"


@pytest.mark.parametrize(
    ("left", "right", "above", "below", "expected"),
    [
        (0.1, 0.4, 0.4, 0.1, (5.25, 4.75)),
        (0.4, 0.1, 0.1, 0.4, (4.75, 5.25)),
        (0.3, 0.3, 0.3, 0.3, (5.0, 5.0)),
    ],
    ids=["towards right and above", "towards left and below", "equal neighbours: no shift"],
)
def test_quarter_moves_towards_the_higher_neighbour(
    left: float, right: float, above: float, below: float, expected: tuple[float, float]
) -> None:
    heatmap = np.zeros((1, 11, 11), np.float32)
    heatmap[0, 5, 4:7] = left, 1, right
    heatmap[0, 4:7:2, 5] = above, below
    assert decode_heatmaps(heatmap, "quarter")[0][0] == pytest.approx(expected)
    assert decode_heatmaps(heatmap, "none")[0][0] == pytest.approx((5, 5))


@pytest.mark.parametrize("corner", [(0, 0), (10, 0), (0, 7), (10, 7)])
@pytest.mark.parametrize("subpixel", ["none", "quarter", "dark"])
def test_a_peak_in_a_corner_is_its_cell(corner: tuple[int, int], subpixel: Subpixel) -> None:
    heatmap = np.full((1, 8, 11), 0.1, np.float32)
    heatmap[0, corner[1], corner[0]] = 1
    assert decode_heatmaps(heatmap, subpixel)[0][0].tolist() == list(corner)


@pytest.mark.parametrize(
    "value", [0.0, -1.0, 0.5], ids=["all zero", "all negative", "flat: no maximum, no division by zero"]
)
def test_a_flat_map_decodes_without_a_warning(value: float) -> None:
    found = HeatmapCodec(1, (32, 32)).decode({"h": np.full((1, 1, 8, 8), value, np.float32)})
    assert np.isfinite(found.keypoints_input_px).all()
    assert 0 <= found.keypoint_scores[0, 0] <= 1


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf])
def test_a_heatmap_that_is_not_finite_is_refused(damage: float) -> None:
    maps = np.zeros((1, 17, 8, 8), np.float32)
    maps[0, 3, 2, 2] = damage
    with pytest.raises(ModelError, match="NaN or infinite"):
        HeatmapCodec(17, (32, 32)).decode({"h": maps})


def test_opposite_infinities_do_not_cancel() -> None:
    maps = np.zeros((1, 17, 8, 8), np.float32)
    maps[0, 0, 0, :2] = np.inf, -np.inf
    with pytest.raises(ModelError, match="NaN or infinite"):
        HeatmapCodec(17, (32, 32)).decode({"h": maps})


@pytest.mark.parametrize(
    "shape",
    [(1, 16, 8, 8), (2, 17, 8, 8), (17, 8, 8), (1, 8, 17, 8), (1, 17, 8, 8, 1)],
    ids=["another K", "batch of 2", "no batch", "K in the middle", "too many axes"],
)
def test_another_shape_is_refused_with_both_shapes_in_the_message(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\(1, 17, h, w\).*the model gives") as refused:
        HeatmapCodec(17, (32, 32)).decode({"h": np.zeros(shape, np.float32)})
    assert str(shape) in refused.value.message


def test_both_layouts_give_the_same_keypoints() -> None:
    maps = bumps(1, count=17)[None]
    codec = HeatmapCodec(17, (96, 128))
    first = codec.decode({"h": maps}).keypoints_input_px
    last = codec.decode({"h": np.ascontiguousarray(maps.transpose(0, 2, 3, 1))}).keypoints_input_px
    np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize("channels_first", [True, False])
def test_a_map_as_wide_as_there_are_keypoints_is_told_by_the_shape_of_the_input(channels_first: bool) -> None:
    # 24 keypoints on maps 24 wide: (1, 24, 32, 24) may be 24 maps of 32x24, or 24x32 with 24 last.
    maps = bumps(2, count=24)
    if channels_first:
        output, input_wh = maps[None], (WIDTH * 4, HEIGHT * 4)
    else:
        maps = maps.transpose(0, 2, 1)
        output, input_wh = maps.transpose(1, 2, 0)[None], (HEIGHT * 4, WIDTH * 4)
    assert output.shape == (1, 24, 32, 24)
    found = HeatmapCodec(24, input_wh, "none").decode({"h": output})
    np.testing.assert_allclose(found.keypoints_input_px[0], decode_heatmaps(maps, "none")[0] * 4)


@pytest.mark.parametrize(
    ("outputs", "name"),
    [(("a", "b"), None), (("a",), "b"), ((), None)],
    ids=["two outputs, none named", "the named one is missing", "no output"],
)
def test_an_output_that_cannot_be_told_is_refused(outputs: tuple[str, ...], name: str | None) -> None:
    maps = {key: np.zeros((1, 17, 8, 8), np.float32) for key in outputs}
    with pytest.raises(ModelError, match="The codec expects"):
        HeatmapCodec(17, (32, 32), output=name).decode(maps)
