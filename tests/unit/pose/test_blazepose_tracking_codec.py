"""What the tracking of BlazePose reads: refinement by the heatmap, written out cell by cell; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.blazepose import (
    TRACKING_POINTS,
    BlazePoseTrackingCodec,
    is_read,
    refine,
)

CODEC = BlazePoseTrackingCodec(256)
coordinates = st.floats(-0.3, 1.3)


def written_out(point: tuple[float, float], logits: NDArray[np.float32]) -> tuple[float, float]:
    """One point on its heatmap (h, w): MediaPipe's loops, one cell after the other."""
    height, width = logits.shape
    column, row = int(point[0] * width), int(point[1] * height)
    if not (0 <= column < width and 0 <= row < height):
        return point
    total = x = y = best = 0.0
    for r in range(max(0, row - 4), min(height, row + 5)):
        for c in range(max(0, column - 4), min(width, column + 5)):
            weight = 1 / (1 + math.exp(-float(logits[r, c])))
            total, best = total + weight, max(best, weight)
            x, y = x + c * weight, y + r * weight
    return (x / width / total, y / height / total) if best >= 0.5 else point


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=6), st.integers(0, 1000))
def test_points_are_refined_as_the_formula_says(points: list[tuple[float, float]], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(-2, 2, (13, 17, len(points))).astype(np.float32)
    expected = [written_out(point, logits[:, :, k]) for k, point in enumerate(points)]
    assert np.allclose(refine(np.array(points), logits), expected, atol=1e-9)


def test_a_point_moves_to_the_peak_beside_it_and_not_to_one_far_away() -> None:
    logits = np.full((64, 64, 2), -30, np.float32)
    logits[22, 31, 0] = logits[50, 50, 1] = 5
    refined = refine(np.full((2, 2), 0.4), logits)
    # Cell 25.6: the first peak is 5 and 3 cells off, so it is out of reach to the right.
    assert refined[0] == pytest.approx([0.4, 0.4])
    logits[22, 28, 0] = 5
    assert refine(np.full((2, 2), 0.4), logits)[0] == pytest.approx([28 / 64, 22 / 64], abs=1e-4)
    assert refined[1] == pytest.approx([0.4, 0.4])


def test_a_weak_heatmap_moves_nothing() -> None:
    logits = np.full((8, 8, 1), -0.1, np.float32)
    assert refine(np.array([[0.3, 0.3]]), logits).tolist() == [[0.3, 0.3]]
    logits[1, 2, 0] = 0.1
    assert refine(np.array([[0.3, 0.3]]), logits).tolist() != [[0.3, 0.3]]


def outputs_of(presence: float = 0.9) -> dict[str, NDArray[np.float32]]:
    rows = np.arange(195, dtype=np.float32).reshape(1, 195)
    return {
        "a": rows,
        "b": np.full((1, 1), presence, np.float32),
        "c": np.zeros((1, 256, 256, 1), np.float32),
        "d": np.full((1, 64, 64, 39), -9, np.float32),
        "e": np.zeros((1, 117), np.float32),
    }


def test_points_come_in_the_models_order_with_their_visibility() -> None:
    found = CODEC.decode(outputs_of(), 0.5)
    assert found is not None
    assert found.points_input_px == pytest.approx(
        np.array([[5 * k, 5 * k + 1] for k in range(TRACKING_POINTS)])
    )
    assert found.visibility[0] == pytest.approx(1 / (1 + math.exp(-3)))
    assert found.presence == pytest.approx(0.9)


@pytest.mark.parametrize(("presence", "somebody"), [(0.49, False), (0.51, True)])
def test_somebody_is_there_from_the_asked_presence_on(presence: float, somebody: bool) -> None:
    assert (CODEC.decode(outputs_of(presence), 0.5) is not None) == somebody


def test_mask_and_metres_are_not_read_and_all_else_is() -> None:
    assert [name for name, value in outputs_of().items() if is_read(value.shape)] == ["a", "b", "d"]


@pytest.mark.parametrize("missing", ["a", "b", "d"])
def test_another_models_outputs_are_refused_in_one_sentence(missing: str) -> None:
    shapes = {name: value.shape for name, value in outputs_of().items()}
    CODEC.check(shapes)
    del shapes[missing]
    with pytest.raises(ModelError, match="landmark model has one output"):
        CODEC.check(shapes)


@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_nan_is_refused(name: str) -> None:
    outputs = outputs_of()
    outputs[name][:] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        CODEC.decode(outputs, 0.5)
