"""BlazePose's detector: anchors and decoding, against the formulas written out one value at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.blazepose import BlazePoseDetectorCodec, anchor_centres

ANCHORS = 2254
CODEC = BlazePoseDetectorCodec(224)
Outputs = dict[str, NDArray[np.float32]]


def written_out_anchors(side: int, strides: list[int]) -> list[tuple[float, float]]:
    """Layers with one stride share their cells; each layer gives a cell two anchors."""
    centres, layer = [], 0
    while layer < len(strides):
        stride, same = strides[layer], 0
        while layer < len(strides) and strides[layer] == stride:
            same, layer = same + 2, layer + 1
        cells = math.ceil(side / stride)
        for row in range(cells):
            for column in range(cells):
                centres += [((column + 0.5) / cells, (row + 0.5) / cells)] * same
    return centres


def outputs_of(anchors: dict[int, tuple[list[float], float]]) -> Outputs:
    """Rows of some anchors (their 12 values and their logit); all others are sure of nobody."""
    rows, logits = np.zeros((1, ANCHORS, 12), np.float32), np.full((1, ANCHORS, 1), -20, np.float32)
    for index, (values, logit) in anchors.items():
        rows[0, index], logits[0, index, 0] = values, logit
    return {"boxes": rows, "scores": logits}


def row(centre: tuple[float, float], above: tuple[float, float], box_wh: float = 60.0) -> list[float]:
    """12 values relative to the anchor: the box about it, four points of which two matter."""
    return [0.0, 0.0, box_wh, box_wh, *centre, *above, 1.0, 2.0, 3.0, 4.0]


def test_anchors_are_those_of_the_formula_in_its_order() -> None:
    expected = written_out_anchors(224, [8, 16, 32, 32, 32])
    assert len(expected) == ANCHORS
    assert np.array_equal(anchor_centres(224), np.array(expected))


def test_another_order_of_layers_would_be_noticed() -> None:
    assert not np.array_equal(anchor_centres(224), np.array(written_out_anchors(224, [32, 32, 32, 16, 8])))


@pytest.mark.parametrize("index", [0, 1, 777, 1568, 1960, 2253])
def test_points_count_from_the_anchor_in_pixels_of_the_input(index: int) -> None:
    x, y = written_out_anchors(224, [8, 16, 32, 32, 32])[index]
    found = CODEC.decode_best(outputs_of({index: (row((5, -7), (6, -90)), 1.5)}))
    assert found is not None
    assert found.centre_input_px == pytest.approx((x * 224 + 5, y * 224 - 7))
    assert found.above_input_px == pytest.approx((x * 224 + 6, y * 224 - 90))
    assert found.score == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_boxes_that_overlap_the_best_are_averaged_by_their_scores() -> None:
    # Two anchors of one cell: the same place, so each logit alone decides the weight.
    found = CODEC.decode_best(
        outputs_of({40: (row((0, 0), (0, -50)), 3.0), 41: (row((9, 3), (9, -53)), 1.0)})
    )
    assert found is not None
    first, second = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-1))
    x, y = anchor_centres(224)[40] * 224
    share = second / (first + second)
    assert found.centre_input_px == pytest.approx((x + 9 * share, y + 3 * share))


def test_a_second_person_elsewhere_changes_nothing() -> None:
    alone = CODEC.decode_best(outputs_of({40: (row((1, 2), (1, -50)), 3.0)}))
    both = CODEC.decode_best(
        outputs_of({40: (row((1, 2), (1, -50)), 3.0), 1200: (row((9, 3), (9, -53)), 2.9)})
    )
    assert alone == both


@pytest.mark.parametrize(("logit", "seen"), [(-0.01, False), (0.01, True), (5000.0, True), (-5000.0, False)])
def test_a_person_is_seen_from_a_score_of_one_half_on(logit: float, seen: bool) -> None:
    assert (CODEC.decode_best(outputs_of({9: (row((0, 0), (0, -9)), logit)})) is not None) == seen


def test_nobody_is_nobody() -> None:
    assert CODEC.decode_best(outputs_of({})) is None


def test_another_models_outputs_are_refused_in_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"one output \(1, 2254, 12\); this model gives a \(1, 17, 64, 48\)"):
        CODEC.check({"a": (1, 17, 64, 48)})
    CODEC.check({name: value.shape for name, value in outputs_of({}).items()})


@pytest.mark.parametrize("name", ["boxes", "scores"])
def test_nan_is_refused(name: str) -> None:
    outputs = outputs_of({9: (row((0, 0), (0, -9)), 1.0)})
    outputs[name][0, 9, 0] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        CODEC.decode_best(outputs)
