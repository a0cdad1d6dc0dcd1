"""SimCC, MoveNet, YOLO-pose and YOLOX: round trips, layouts and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.pose.codecs.codec import DecodedPoses, mean_confident_score
from edgepose.pose.codecs.movenet import MovenetCodec
from edgepose.pose.codecs.simcc import SimccCodec
from edgepose.pose.codecs.yolo_pose import YoloPoseCodec
from edgepose.pose.codecs.yolox import YoloxCodec

Array = NDArray[np.float32]
RANDOM_SEEDS = st.integers(0, 2**32 - 1)


def keypoints(seed: int, input_wh: tuple[int, int], count: int = 17) -> Array:
    return np.random.default_rng(seed).uniform(2, np.array(input_wh) - 3, (count, 2)).astype(np.float32)


# SimCC


@settings(max_examples=30, deadline=None)
@given(seed=RANDOM_SEEDS, ratio=st.sampled_from([1.0, 2.0, 3.0]))
def test_simcc_comes_back_within_half_a_bin(seed: int, ratio: float) -> None:
    codec = SimccCodec(17, (48, 64), ratio)
    truth = keypoints(seed, (48, 64))
    along_x, along_y = codec.encode(truth, np.ones(17, bool), sigma_bins=4)
    found = codec.decode({"x": along_x[None], "y": along_y[None]})
    assert np.abs(found.keypoints_input_px[0] - truth).max() <= 0.5 / ratio + 1e-4


@pytest.mark.parametrize("swapped", [False, True], ids=["x then y", "y then x"])
@pytest.mark.parametrize("transposed", [False, True], ids=["(1, K, bins)", "(1, bins, K)"])
@pytest.mark.parametrize("named", [False, True], ids=["found by length", "found by name"])
def test_simcc_outputs_are_told_apart(swapped: bool, transposed: bool, named: bool) -> None:
    codec = SimccCodec(17, (48, 64), 2.0, ("x", "y") if named else None)
    truth = keypoints(1, (48, 64))
    pair = codec.encode(truth, np.ones(17, bool), 4)
    outputs = dict(
        zip("xy", (np.swapaxes(o[None], 1, 2) if transposed else o[None] for o in pair), strict=True)
    )
    if swapped:
        outputs = dict(reversed(outputs.items()))
    assert np.abs(codec.decode(outputs).keypoints_input_px[0] - truth).max() <= 0.26


def test_simcc_score_is_the_smaller_maximum_clipped_to_one() -> None:
    codec = SimccCodec(2, (4, 6), 1.0)
    along_x, along_y = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 6), np.float32)
    along_x[0, :, 1] = 0.9, 3.0
    along_y[0, :, 2] = 0.4, 2.0
    np.testing.assert_allclose(codec.decode({"a": along_x, "b": along_y}).keypoint_scores, [[0.4, 1.0]])


@pytest.mark.parametrize(
    ("shapes", "input_wh", "reason"),
    [
        ([(1, 17, 96)], (48, 64), "one output only"),
        ([(1, 17, 96), (1, 17, 96)], (48, 64), "both along x"),
        ([(1, 17, 96), (1, 17, 64)], (48, 64), "y has another split ratio"),
        ([(1, 16, 96), (1, 16, 128)], (48, 64), "another K"),
        ([(1, 17, 96), (1, 17, 96)], (48, 48), "a square input: only names can tell"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_simcc_of_another_shape_is_refused(
    shapes: list[tuple[int, ...]], input_wh: tuple[int, int], reason: str
) -> None:
    outputs = {f"o{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(ModelError, match="SimCC needs"):
        SimccCodec(17, input_wh).decode(outputs)


# MoveNet


@settings(max_examples=30, deadline=None)
@given(seed=RANDOM_SEEDS)
def test_movenet_comes_back(seed: int) -> None:
    codec = MovenetCodec(17, (192, 160))
    truth = keypoints(seed, (192, 160))
    scores = np.linspace(0, 1, 17, dtype=np.float32)
    found = codec.decode({"o": codec.encode(truth, scores)})
    np.testing.assert_allclose(found.keypoints_input_px[0], truth, atol=1e-4)
    np.testing.assert_allclose(found.keypoint_scores[0], scores)


def test_movenet_gives_y_before_x() -> None:
    output = np.zeros((1, 1, 1, 3), np.float32)
    output[0, 0, 0] = 0.25, 0.5, 0.9  # y, x, score
    assert MovenetCodec(1, (100, 200)).decode({"o": output}).keypoints_input_px.tolist() == [[[50, 50]]]


@pytest.mark.parametrize("shape", [(1, 17, 3), (1, 1, 16, 3), (1, 6, 56)], ids=["no stage", "K", "multipose"])
def test_movenet_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="MoveNet"):
        MovenetCodec(17, (192, 192)).decode({"o": np.zeros(shape, np.float32)})


# YOLO-pose


def some_persons(count: int) -> DecodedPoses:
    """Persons side by side, so that none suppresses another, best first."""
    random = np.random.default_rng(count)
    left = np.arange(count, dtype=np.float32) * 40
    boxes = np.stack([left, left * 0 + 5, left + 30, left * 0 + 90], axis=1)
    return DecodedPoses(
        random.uniform(0, 300, (count, 17, 2)).astype(np.float32),
        random.random((count, 17)).astype(np.float32),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        boxes,
    )


@pytest.mark.parametrize("transposed", [False, True], ids=["(1, 56, N)", "(1, N, 56)"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_yolo_pose_comes_back(count: int, transposed: bool) -> None:
    codec, persons = YoloPoseCodec(17), some_persons(count)
    output = codec.encode(persons)
    found = codec.decode({"o": np.swapaxes(output, 1, 2).copy() if transposed else output})
    np.testing.assert_allclose(found.keypoints_input_px, persons.keypoints_input_px, atol=1e-4)
    np.testing.assert_allclose(found.keypoint_scores, persons.keypoint_scores, atol=1e-6)
    np.testing.assert_allclose(found.scores, persons.scores)
    assert found.boxes_xyxy_input_px is not None
    assert persons.boxes_xyxy_input_px is not None
    np.testing.assert_allclose(found.boxes_xyxy_input_px, persons.boxes_xyxy_input_px, atol=1e-4)


def test_yolo_pose_drops_weak_and_overlapped_persons_and_keeps_the_best() -> None:
    codec = YoloPoseCodec(17, score_threshold=0.5, max_detections=2)
    persons = some_persons(4)
    boxes = persons.boxes_xyxy_input_px
    assert boxes is not None
    boxes[1] = boxes[0] + 1
    rows = codec.encode(persons)
    rows[0, 4] = 0.6, 0.9, 0.7, 0.4
    found = codec.decode({"o": rows})
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


@pytest.mark.parametrize("shape", [(1, 55, 9), (2, 56, 9), (56, 9), (1, 84, 9)])
def test_yolo_pose_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\(1, 56, N\)"):
        YoloPoseCodec(17).decode({"o": np.zeros(shape, np.float32)})


def test_persons_without_boxes_have_no_yolo_pose_rows() -> None:
    with pytest.raises(ModelError, match="box"):
        YoloPoseCodec(1).encode(
            DecodedPoses(
                np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), np.float32), np.ones(1, np.float32)
            )
        )


# YOLOX


def looped_yolox(rows: Array, input_wh: tuple[int, int], threshold: float) -> list[tuple[float, ...]]:
    """Every candidate box with its score, by loops over strides, rows and columns."""
    found, index = [], 0
    for stride in (8, 16, 32):
        for y in range(input_wh[1] // stride):
            for x in range(input_wh[0] // stride):
                dx, dy, log_w, log_h, objectness, person = (float(value) for value in rows[index][:6])
                index += 1
                if objectness * person < threshold:
                    continue
                cx, cy = (x + dx) * stride, (y + dy) * stride
                w, h = math.exp(log_w) * stride, math.exp(log_h) * stride
                found.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, objectness * person))
    assert index == len(rows)
    return sorted(found, key=lambda row: -row[4])


@pytest.mark.parametrize("input_wh", [(64, 96), (96, 64)], ids=["upright", "lying: x and y must not swap"])
def test_yolox_equals_a_loop_over_the_grid(input_wh: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    count = sum((input_wh[0] // s) * (input_wh[1] // s) for s in (8, 16, 32))
    rows = random.random((count, 85)).astype(np.float32)
    rows[:, :4] -= 0.5
    expected = looped_yolox(rows, input_wh, 0.5)
    codec = YoloxCodec(input_wh, score_threshold=0.5, nms_iou=1.0, max_detections=1000)
    boxes, scores = codec.decode_boxes({"o": rows[None]})
    np.testing.assert_allclose(np.c_[boxes, scores], expected, rtol=1e-4, atol=1e-3)


def test_yolox_takes_the_best_of_several_person_classes() -> None:
    rows = np.zeros((1, 84, 7), np.float32)
    rows[0, 0, 4:] = 1.0, 0.3, 0.8
    assert YoloxCodec((64, 64), class_ids=(0,)).decode_boxes({"o": rows})[1] == pytest.approx([0.3])
    assert YoloxCodec((64, 64), class_ids=(0, 1)).decode_boxes({"o": rows})[1] == pytest.approx([0.8])


def test_yolox_finds_nobody_in_zeros() -> None:
    boxes, scores = YoloxCodec((64, 64)).decode_boxes({"o": np.zeros((1, 84, 85), np.float32)})
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("shape", "class_ids"),
    [((1, 83, 85), (0,)), ((1, 85, 84), (0,)), ((1, 84, 5), (0,)), ((1, 84, 85), (80,))],
    ids=["a row missing", "transposed", "no class", "a class that the model lacks"],
)
def test_yolox_of_another_shape_is_refused(shape: tuple[int, ...], class_ids: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="YOLOX"):
        YoloxCodec((64, 64), class_ids=class_ids).decode_boxes({"o": np.zeros(shape, np.float32)})


def test_a_yolox_box_beyond_every_number_is_refused() -> None:
    rows = np.zeros((1, 84, 85), np.float32)
    rows[0, 0, 2:6] = 500, 500, 1, 1  # exp(500) overflows float32
    with pytest.raises(ModelError, match="boxes hold NaN or infinite"):
        YoloxCodec((64, 64)).decode_boxes({"o": rows})


# All of them


@pytest.mark.parametrize(
    ("decode", "outputs"),
    [
        (SimccCodec(1, (4, 6), 1.0).decode, {"x": np.zeros((1, 1, 4)), "y": np.zeros((1, 1, 6))}),
        (MovenetCodec(1, (4, 4)).decode, {"o": np.zeros((1, 1, 1, 3))}),
        (YoloPoseCodec(1).decode, {"o": np.zeros((1, 8, 3))}),
        (YoloxCodec((64, 64)).decode_boxes, {"o": np.zeros((1, 84, 6))}),
    ],
    ids=["simcc", "movenet", "yolo_pose", "yolox"],
)
def test_nan_is_refused_and_zeros_are_not(
    decode: Callable[[dict[str, Array]], object], outputs: dict[str, Array]
) -> None:
    decode(outputs)
    for damaged in outputs.values():
        damaged.flat[-1] = np.nan
        with pytest.raises(ModelError, match="NaN or infinite"):
            decode(outputs)
        damaged.flat[-1] = 0


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.9, 0.5, 0.1], 0.7), ([0.2, 0.2, 0.2], 0.0), ([0.0, 0.0, 0.21], 0.21), ([1.0, 1.0, 1.0], 1.0)],
    ids=["weak ones are left out", "0.2 itself is weak", "one is enough", "all"],
)
def test_the_person_score_is_the_mean_of_the_confident_keypoints(
    scores: list[float], expected: float
) -> None:
    assert mean_confident_score(np.array([scores], np.float32))[0] == pytest.approx(expected)
