"""Boxes: overlap, suppression, growth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.pose.boxes import enclosing_box, grow_to_aspect, iou_matrix, non_maximum_suppression

Box = tuple[float, float, float, float]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param((0, 0, 2, 2), (0, 0, 2, 2), 1.0, id="equal"),
        pytest.param((0, 0, 2, 2), (2, 0, 4, 2), 0.0, id="touch at an edge"),
        pytest.param((0, 0, 2, 2), (5, 5, 6, 6), 0.0, id="apart on both axes: two negatives are no area"),
        pytest.param((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, id="quarter overlap"),
        pytest.param((0, 0, 4, 4), (1, 1, 3, 3), 4 / 16, id="one inside the other"),
        pytest.param((1, 1, 1, 1), (1, 1, 1, 1), 0.0, id="both empty: no division by zero"),
        pytest.param((3, 3, 1, 1), (0, 0, 4, 4), 0.0, id="corners swapped: empty"),
    ],
)
def test_iou(first: Box, second: Box, expected: float) -> None:
    assert iou_matrix(first, second)[0, 0] == pytest.approx(expected)
    assert iou_matrix(second, first)[0, 0] == pytest.approx(expected)


def test_iou_of_no_boxes_is_an_empty_matrix() -> None:
    assert iou_matrix(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


def naive_suppression(boxes: list[Box], scores: list[float], max_iou: float, most: int) -> list[int]:
    """Looks at every box in the order of scores and at every box kept so far."""

    def overlap(a: Box, b: Box) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if len(kept) < most and all(overlap(boxes[i], boxes[k]) <= max_iou for k in kept):
            kept.append(i)
    return kept


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8), st.integers(0, 5)
        ),
        max_size=14,
    ),
    max_iou=st.sampled_from([0.0, 0.3, 0.65, 1.0]),
    most=st.integers(0, 8),
)
def test_suppression_equals_a_naive_one_also_with_equal_scores(
    rows: list[tuple[int, ...]], max_iou: float, most: int
) -> None:
    boxes = [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h, _ in rows]
    scores = [row[4] / 5 for row in rows]
    found = non_maximum_suppression(
        np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(scores), max_iou, most
    )
    assert found.tolist() == naive_suppression(boxes, scores, max_iou, most)


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    width=st.floats(0, 900),
    height=st.floats(0, 900),
    aspect=st.floats(0.2, 5),
    scale=st.floats(1, 2),
)
def test_a_grown_box_has_the_aspect_keeps_its_centre_and_holds_the_old_one(
    x: float, y: float, width: float, height: float, aspect: float, scale: float
) -> None:
    x0, y0, x1, y1 = grow_to_aspect((x, y, x + width, y + height), aspect, scale)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(aspect)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((x + width / 2, y + height / 2), abs=1e-6)
    slack = 1e-6
    assert x0 <= x + slack
    assert y0 <= y + slack
    assert x1 >= x + width - slack
    assert y1 >= y + height - slack


def test_the_short_side_grows_before_the_scale() -> None:
    np.testing.assert_allclose(grow_to_aspect((10, 20, 30, 100), 0.75, 1.25), [-17.5, 10, 57.5, 110])


@pytest.mark.parametrize("box", [(5, 5, 5, 5), (9, 9, 3, 3)], ids=["a point", "corners swapped"])
def test_a_degenerate_box_becomes_at_least_a_pixel(box: Box) -> None:
    x0, y0, x1, y1 = grow_to_aspect(box, 1.0, 1.0)
    assert (x1 - x0, y1 - y0) == (1, 1)


def test_the_enclosing_box_counts_confident_keypoints_only() -> None:
    points = np.array([[1, 2], [5, 9], [100, 100]], np.float32)
    scores = np.array([0.2, 0.9, 0.19], np.float32)
    np.testing.assert_array_equal(enclosing_box(points, scores, float(np.float32(0.2))), [1, 2, 5, 9])
    assert enclosing_box(points, scores, 0.95) is None
    assert enclosing_box(points, scores, 0.5) is None, "one point has no extent"
