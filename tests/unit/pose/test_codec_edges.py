"""Where codecs end: the border, expansions without a maximum, sizes of targets, hidden keypoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs import blazepose
from edgepose.pose.codecs.blazepose import BlazePoseCodec, BlazePoseDetectorCodec
from edgepose.pose.codecs.center import CenterCodec
from edgepose.pose.codecs.heatmap import HeatmapCodec, _newton_step, dark_offsets, decode_heatmaps
from edgepose.pose.codecs.simcc import SimccCodec

WIDTH, HEIGHT = 7, 6


def quarter_by_hand(heatmap: NDArray[np.float32], x: int, y: int) -> tuple[float, float]:
    """Newell et al. 2016: a quarter cell towards the higher neighbour, and none for a cell without both."""
    if not (0 < x < WIDTH - 1 and 0 < y < HEIGHT - 1):
        return float(x), float(y)

    def towards(higher: float, lower: float) -> float:
        return 0.25 if higher > lower else -0.25 if higher < lower else 0.0

    return (
        x + towards(heatmap[y, x + 1], heatmap[y, x - 1]),
        y + towards(heatmap[y + 1, x], heatmap[y - 1, x]),
    )


@pytest.mark.parametrize("y", range(HEIGHT))
@pytest.mark.parametrize("x", range(WIDTH))
def test_a_quarter_step_is_made_from_every_cell_but_those_of_the_border(x: int, y: int) -> None:
    maps = np.random.default_rng(x + WIDTH * y).random((3, HEIGHT, WIDTH)).astype(np.float32)
    maps[:, y, x] = 2
    found, _ = decode_heatmaps(maps, "quarter")
    assert found.tolist() == [list(quarter_by_hand(heatmap, x, y)) for heatmap in maps]


def off_centre(x: int, y: int) -> NDArray[np.float32]:
    """A Gaussian a third of a cell beside a cell."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    squared = (columns - x - 0.3) ** 2 + (rows - y - 0.3) ** 2
    return np.exp(-squared / 2).astype(np.float32)[None]


@pytest.mark.parametrize("y", range(HEIGHT))
@pytest.mark.parametrize("x", range(WIDTH))
def test_dark_steps_from_every_cell_with_two_neighbours_on_each_side(x: int, y: int) -> None:
    step = dark_offsets(off_centre(x, y), np.array([[x, y]]))[0]
    inside = 2 <= x <= WIDTH - 3 and 2 <= y <= HEIGHT - 3
    assert bool(np.any(step)) == inside


def expanded(dxx: float, dyy: float, dxy: float = 0.0) -> tuple[float, float]:
    """The step of an expansion with a small slope."""
    return _newton_step(0.1, 0.2, dxx, dyy, dxy)


def test_the_step_leads_to_the_maximum_of_the_expansion() -> None:
    hessian, slope = np.array([[-1.0, 0.3], [0.3, -2.0]]), np.array([0.1, 0.2])
    assert expanded(-1, -2, 0.3) == pytest.approx(tuple(np.linalg.solve(hessian, -slope)))


@pytest.mark.parametrize(
    ("dxx", "dyy", "dxy", "what"),
    [
        (1.0, 1.0, 0.0, "a minimum"),
        (1.0, -1.0, 0.0, "a saddle along x"),
        (-1.0, 1.0, 0.0, "a saddle along y"),
        (-1.0, -1.0, 1.1, "a saddle across"),
        (-1.0, -1.0, 1.0, "a ridge"),
        (0.0, 0.0, 0.0, "a plane"),
        (-1e-6, -0.9e-6, 0.0, "next to a plane: its step is made of rounding"),
    ],
)
def test_an_expansion_without_a_maximum_gives_no_step(dxx: float, dyy: float, dxy: float, what: str) -> None:
    assert expanded(dxx, dyy, dxy) == (0.0, 0.0), what


@pytest.mark.parametrize(
    ("dx", "dy", "expected"),
    [
        (1.5, 0.0, (1.5, 0.0)),
        (-1.5, -1.5, (-1.5, -1.5)),
        (1.51, 0.0, (0.0, 0.0)),
        (0.0, -1.51, (0.0, 0.0)),
        (-1.51, 0.1, (0.0, 0.0)),
        (0.1, 1.51, (0.0, 0.0)),
    ],
)
def test_a_maximum_more_than_a_cell_and_a_half_away_is_not_believed(
    dx: float, dy: float, expected: tuple[float, float]
) -> None:
    assert _newton_step(dx, dy, -1.0, -1.0, 0.0) == expected


def test_a_lone_spike_in_a_moat_is_its_cell() -> None:
    # Smoothed, the spike lies below what surrounds the moat: the expansion has a minimum there.
    heatmap = np.full((1, 9, 9), 0.9, np.float32)
    heatmap[0, 3:6, 3:6] = 0.0
    heatmap[0, 4, 4], heatmap[0, 4, 5] = 1.0, 0.1
    assert decode_heatmaps(heatmap, "dark")[0][0].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_heatmap_target_has_the_sigma_in_cells_that_is_asked_for(sigma: float) -> None:
    # A keypoint at (12, 20) of an input of 32 x 64 is cell (3, 10) of maps of 8 x 32.
    maps = HeatmapCodec(2, (32, 64)).encode(
        np.array([[12.0, 20.0], [12.0, 20.0]]), np.array([True, False]), (8, 32), sigma
    )
    assert maps.shape == (2, 32, 8)
    for row in range(32):
        for column in range(8):
            squared = (column - 3) ** 2 + (row - 10) ** 2
            assert maps[0, row, column] == pytest.approx(math.exp(-squared / (2 * sigma * sigma)), abs=1e-6)
    assert not maps[1].any()


@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_a_simcc_target_has_the_sigma_in_bins_that_is_asked_for(sigma: float) -> None:
    along_x, along_y = SimccCodec(2, (16, 24), 2.0).encode(
        np.array([[5.0, 9.0], [5.0, 9.0]]), np.array([True, False]), sigma
    )
    assert (along_x.shape, along_y.shape) == ((2, 32), (2, 48))
    assert along_x.dtype == along_y.dtype == np.float32
    for target, centre in ((along_x, 10), (along_y, 18)):
        expected = [
            math.exp(-((bin_ - centre) ** 2) / (2 * sigma * sigma)) for bin_ in range(target.shape[1])
        ]
        np.testing.assert_allclose(target[0], expected, atol=1e-6)
        assert not target[1].any()


def test_an_invisible_keypoint_of_simcc_has_score_zero_and_does_not_pull_the_person() -> None:
    codec = SimccCodec(2, (16, 24), 2.0)
    pair = codec.encode(np.array([[5.0, 9.0], [5.0, 9.0]]), np.array([True, False]), 2.0)
    found = codec.decode({"x": pair[0][None], "y": pair[1][None]})
    np.testing.assert_allclose(found.keypoint_scores, [[1, 0]])
    np.testing.assert_allclose(found.scores, [1])


def test_the_named_output_is_taken_among_others() -> None:
    right, wrong = np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.float32)
    right[0, 0, 2, 5], wrong[0, 0, 7, 0] = 1, 1
    for outputs in ({"a": wrong, "b": right}, {"b": right, "a": wrong}, {"b": right}):
        found = HeatmapCodec(1, (8, 8), "none", output="b").decode(outputs)
        assert found.keypoints_input_px.tolist() == [[[5, 2]]]


@pytest.mark.parametrize("dx", [-1, 0, 1])
@pytest.mark.parametrize("dy", [-1, 0, 1])
def test_a_cell_beside_a_higher_one_is_no_centre_in_any_direction(dx: int, dy: int) -> None:
    # Two persons whose boxes hardly overlap, in cells next to each other: only the peak speaks.
    maps = np.zeros((1, 9, 9, 5), np.float32)
    maps[..., 0] = -3
    maps[..., 3:] = -2
    maps[0, 4, 4, 0] = 1.0
    maps[0, 4 + dy, 4 + dx, 0] = 1.0 if (dx, dy) == (0, 0) else 0.5
    boxes, scores = CenterCodec((72, 72), nms_iou=1.0).decode_boxes({"o": maps})
    assert len(boxes) == len(scores) == 1
    assert scores[0] == pytest.approx(1 / (1 + math.exp(-4.0)))
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, [36, 36])


def test_cells_two_apart_are_two_centres() -> None:
    maps = np.zeros((1, 9, 9, 5), np.float32)
    maps[..., 0] = -3
    maps[..., 3:] = -2
    maps[0, 4, 2, 0] = maps[0, 4, 4, 0] = maps[0, 8, 8, 0] = maps[0, 0, 0, 0] = 1.0
    assert len(CenterCodec((72, 72), nms_iou=1.0).decode_boxes({"o": maps})[0]) == 4


def blazepose_outputs() -> dict[str, NDArray[np.float32]]:
    rows = np.arange(195, dtype=np.float32).reshape(39, 5)
    rows[:, 3] = 0.0
    return {"points": rows.reshape(1, 195), "person": np.array([[0.5]], np.float32)}


def test_blazepose_gives_x_and_y_of_its_points_and_nothing_else() -> None:
    found = BlazePoseCodec(33).decode(blazepose_outputs())
    assert found.keypoints_input_px.shape == (1, 33, 2)
    np.testing.assert_array_equal(found.keypoints_input_px[0, 1], [5, 6])
    np.testing.assert_allclose(found.keypoint_scores, np.full((1, 33), 0.25))
    assert found.scores.tolist() == [0.5]


@pytest.mark.parametrize("name", ["points", "person"])
@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_blazepose_refuses_what_is_not_finite(name: str, damage: float) -> None:
    outputs = blazepose_outputs()
    outputs[name][0, 0] = damage
    with pytest.raises(ModelError, match="NaN or infinite"):
        BlazePoseCodec(33).decode(outputs)


@pytest.mark.parametrize(("given", "clipped"), [(-0.5, 0.0), (1.5, 1.0)])
def test_blazeposes_person_score_is_clipped(given: float, clipped: float) -> None:
    outputs = blazepose_outputs()
    outputs["person"][0, 0] = given
    assert BlazePoseCodec(33).decode(outputs).scores.tolist() == [clipped]


def test_blazeposes_outputs_may_be_named() -> None:
    outputs = blazepose_outputs()
    outputs |= {"other points": outputs["points"] + 1, "other person": outputs["person"] * 0}
    found = BlazePoseCodec(33, "points", "person").decode(outputs)
    np.testing.assert_array_equal(found.keypoints_input_px[0, 0], [0, 1])
    assert found.scores.tolist() == [0.5]
    for codec in (BlazePoseCodec(33), BlazePoseCodec(33, "points"), BlazePoseCodec(33, None, "person")):
        with pytest.raises(ModelError, match="BlazePose needs"):
            codec.decode(outputs)


def test_blazeposes_tracking_takes_33_points_of_the_body_and_two_of_its_own() -> None:
    assert (blazepose.BODY_POINTS, blazepose.TRACKING_POINTS) == (33, 35)


@pytest.mark.parametrize(("logit", "seen"), [(0.0, True), (-1e-6, False), (-200.0, False), (200.0, True)])
def test_blazeposes_detector_sees_from_exactly_its_threshold_on(logit: float, seen: bool) -> None:
    codec = BlazePoseDetectorCodec(32)
    count = len(blazepose.anchor_centres(32))
    logits = np.full((1, count, 1), -50.0, np.float32)
    logits[0, 3, 0] = logit
    found = codec.decode_best({"rows": np.ones((1, count, 12), np.float32), "logits": logits})
    assert (found is not None) == seen
