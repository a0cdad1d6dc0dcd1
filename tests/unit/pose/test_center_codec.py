"""Centre maps: what is encoded is decoded, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import ModelError
from edgepose.pose.codecs.center import CenterCodec

WH, MAP_WH = (192, 160), (24, 20)


def maps_with(cells: list[tuple[int, int]], boxes: list[tuple[float, ...]], score: float = 0.9) -> np.ndarray:
    """Maps on which exactly these cells see exactly these boxes."""
    codec = CenterCodec(WH)
    maps = np.zeros((1, MAP_WH[1], MAP_WH[0], 5), np.float32)
    maps[..., 0] = -1.5
    for (column, row), box in zip(cells, boxes, strict=True):
        maps[0, row, column, 0] = math.log(score / (1 - score)) / 4
        cell = np.array([[column, row]])
        maps[0, row, column, 1:] = codec.encode(np.array([box]), cell, MAP_WH)[0]
    return maps


@given(
    x=st.floats(5, 180), y=st.floats(5, 150), w=st.floats(6, 190), h=st.floats(6, 158),
    column=st.integers(0, 23), row=st.integers(0, 19),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_box_comes_back_from_whichever_cell_tells_it(
    x: float, y: float, w: float, h: float, column: int, row: int
) -> None:
    box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    boxes, scores = CenterCodec(WH).decode_boxes({"maps": maps_with([(column, row)], [box])})
    assert scores == pytest.approx([0.9], abs=1e-5)
    assert boxes[0] == pytest.approx(box, abs=2e-3)


def test_the_numbers_are_those_of_the_definition() -> None:
    maps = np.zeros((1, MAP_WH[1], MAP_WH[0], 5), np.float32)
    maps[..., 0] = -2
    maps[0, 7, 4] = (0.25, 0.5, -0.25, 0.0, math.log(2) / 2)
    boxes, scores = CenterCodec(WH).decode_boxes({"maps": maps})
    # Cells of 8 px: centre (4 + 0.5 + 0.5, 7 + 0.5 - 0.25) * 8; sides 8 and 16 cells.
    assert boxes[0] == pytest.approx((40 - 32, 58 - 64, 40 + 32, 58 + 64), abs=1e-4)
    assert scores[0] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)


def test_the_best_of_a_neighbourhood_speaks_and_a_plateau_speaks_once() -> None:
    far, near = (10.0, 10.0, 60.0, 90.0), (100.0, 20.0, 150.0, 120.0)
    maps = maps_with([(4, 6), (15, 8)], [far, near])
    maps[0, 6, 5] = maps[0, 6, 4]
    maps[0, 6, 5, 0] -= 0.1
    maps[0, 8, 16] = maps[0, 8, 15]
    boxes, _ = CenterCodec(WH, nms_iou=1.0).decode_boxes({"maps": maps})
    assert len(boxes) == 2
    assert sorted(boxes[:, 0].round()) == [10, 100]
    apart = maps_with([(4, 6), (7, 6)], [far, near])
    assert len(CenterCodec(WH, nms_iou=1.0).decode_boxes({"maps": apart})[0]) == 2


def test_weak_and_overlapping_boxes_are_dropped() -> None:
    box = (10.0, 10.0, 60.0, 90.0)
    weak = maps_with([(4, 6)], [box], score=0.2)
    assert len(CenterCodec(WH).decode_boxes({"maps": weak})[0]) == 0
    assert len(CenterCodec(WH, score_threshold=0.1).decode_boxes({"maps": weak})[0]) == 1
    twice = maps_with([(4, 6), (9, 6)], [box, box])
    assert len(CenterCodec(WH).decode_boxes({"maps": twice})[0]) == 1
    assert len(CenterCodec(WH, nms_iou=1.0).decode_boxes({"maps": twice})[0]) == 2


def test_channels_may_come_first_and_other_shapes_are_refused() -> None:
    maps = maps_with([(4, 6)], [(10.0, 10.0, 60.0, 90.0)])
    codec = CenterCodec(WH)
    first, _ = codec.decode_boxes({"maps": np.ascontiguousarray(maps.transpose(0, 3, 1, 2))})
    assert np.array_equal(first, codec.decode_boxes({"maps": maps})[0])
    for wrong in (maps[0], maps[..., :4], np.zeros((1, 5, 7, 5), np.float32), np.zeros((2, 20, 24, 5))):
        with pytest.raises(ModelError, match="centre map"):
            codec.decode_boxes({"maps": wrong})


def test_nan_is_refused_and_absurd_sizes_do_not_overflow() -> None:
    maps = maps_with([(4, 6)], [(10.0, 10.0, 60.0, 90.0)])
    maps[0, 6, 4, 3] = 1e6
    boxes, _ = CenterCodec(WH).decode_boxes({"maps": maps})
    assert np.isfinite(boxes).all()
    maps[0, 0, 0, 2] = np.nan
    with pytest.raises(ModelError):
        CenterCodec(WH).decode_boxes({"maps": maps})
