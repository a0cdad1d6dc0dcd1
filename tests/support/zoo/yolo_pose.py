"""One-stage YOLO-pose: boxes, scores and keypoints of three strides in one tensor (YOLOv8-pose).

Trunk and neck are random; likeness maps are fitted. Each anchor looks through a window of 56 by 80 pixels
to each side: the sums of its columns and rows go through a softmax, whose mean is where the keypoint is,
seen from the anchor. From there on all is as in the published export: distances to the box sides as
distributions over 16 bins, keypoints as offsets from the anchor in strides, scores through a sigmoid,
everything decoded inside the graph and concatenated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.least_squares import fit_rows
from tests.support.zoo.lessons import KEYPOINTS, Lessons, marker_lessons
from tests.support.zoo.silu_blocks import conv_silu, pooled_pyramid, split_bottleneck
from tests.support.zoo.specs import LETTERBOX, UNIT, spec_of, spec_toml

STRIDES = (8, 16, 32)
_CELL_PX = 4
_WINDOW_WH = (29, 41)  # cells, odd
_BINS = 16
_BIN_WIDTH_PX, _BIN_SPREAD = 6.0, 0.6
_FLOOR, _SHARPNESS = 0.15, 12.0


def spec_text(*, transposed: bool) -> str:
    """The spec of either order of axes; the codec finds the order by itself."""
    name = "zoo_yolo_pose_rows" if transposed else "zoo_yolo_pose"
    return spec_toml(
        name, paradigm="one_stage", size=LETTERBOX, normalization=UNIT,
        codec='kind = "yolo_pose"\nscore_threshold = 0.25',
    )  # fmt: skip


@dataclass(frozen=True)
class _Level:
    """What one stride says: features of its anchors (1, C, anchors) each."""

    places: str
    heights: str


def build(path: Path, seed: int = 0, *, with_spec: bool = True, transposed: bool = False) -> Path:
    """(1, 3, 128, 160) -> ``poses`` (1, 56, 420), or (1, 420, 56)."""
    spec = spec_of(spec_text(transposed=transposed))
    lessons = marker_lessons(spec, 48, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=17)
    likeness = _likeness(graph, _neck(graph), lessons)
    mass = graph.op("Relu", graph.op("Sub", likeness, graph.constant(np.float32(_FLOOR))))
    levels = [_look_through_windows(graph, likeness, mass, stride) for stride in STRIDES]
    anchors = _anchors(lessons.input_wh)
    boxes = _boxes(graph, levels, anchors, lessons)
    scores = graph.op("Sigmoid", _person_logits(graph, levels))
    keypoints = _keypoints(graph, levels, anchors)
    poses = graph.op("Concat", boxes, scores, keypoints, axis=1, name="" if transposed else "poses")
    if transposed:
        poses = graph.op("Transpose", poses, perm=[0, 2, 1], name="poses")
    return graph.save(path, [poses], spec if with_spec else None)


def _neck(graph: EagerGraph) -> str:
    """Features of stride 4 that have seen strides 8, 16 and 32."""
    x = conv_silu(graph, graph.input, 32, 3, stride=2)
    finer = split_bottleneck(graph, conv_silu(graph, x, 64, 3, stride=2))
    scales = [finer]
    for channels in (64, 64, 64):
        scales.append(split_bottleneck(graph, conv_silu(graph, scales[-1], channels, 3, stride=2)))
    x = pooled_pyramid(graph, scales.pop())
    while scales:
        x = graph.op("Concat", graph.resize(x, 2, "nearest"), scales.pop(), axis=1)
        x = conv_silu(graph, x, 64 if scales else 96, 3)
    return x


def _likeness(graph: EagerGraph, x: str, lessons: Lessons) -> str:
    """(1, 17, 32, 40), fitted twice: the second look sees where the first was sure."""
    targets = lessons.heatmaps((40, 32))
    first = graph.fitted_conv(x, targets, 3)
    sure = graph.op("Relu", graph.op("Sub", first, graph.constant(np.float32(_FLOOR))))
    return graph.fitted_conv(graph.op("Concat", sure, x, axis=1), targets, 3)


def _look_through_windows(graph: EagerGraph, likeness: str, mass: str, stride: int) -> _Level:
    """``places`` (1, 34, A): keypoints from the anchor, in strides; ``heights`` (1, 17, A): how sure."""
    columns, rows = (_axis_softmax(graph, mass, axis, stride) for axis in (0, 1))
    places = graph.op("Concat", columns, rows, axis=1)
    step, (width, height) = stride // _CELL_PX, _WINDOW_WH
    (left, right), (top, bottom) = _pads(width, step), _pads(height, step)
    highest = graph.op(
        "MaxPool",
        likeness,
        kernel_shape=[height, width],
        strides=[step, step],
        pads=[top, left, bottom, right],
    )
    anchors = graph.shape(highest)[2] * graph.shape(highest)[3]
    return _Level(places, graph.op("Reshape", highest, graph.integers(1, KEYPOINTS, anchors)))


def _axis_softmax(graph: EagerGraph, mass: str, axis: int, stride: int) -> str:
    """Sums across the window, one bin a column (axis 0) or row (1), softmax, mean: (1, 17, A) in strides."""
    step, bins = stride // _CELL_PX, _WINDOW_WH[axis]
    across = _strip(graph, mass, np.ones((KEYPOINTS, 1, _WINDOW_WH[1 - axis])), 1 - axis, step)
    shifts = np.tile(_SHARPNESS * np.eye(bins), (KEYPOINTS, 1))[:, None, :]
    logits = _strip(graph, across, shifts, axis, step)
    anchors = graph.shape(logits)[2] * graph.shape(logits)[3]
    logits = graph.op("Reshape", logits, graph.integers(1, KEYPOINTS, bins, anchors))
    shares = graph.op("Softmax", graph.op("Transpose", logits, perm=[0, 2, 1, 3]), axis=1)
    offsets = (np.arange(bins) - bins // 2) * _CELL_PX / stride
    mean = graph.op("Conv", shares, graph.constant(offsets.reshape(1, bins, 1, 1)))
    return graph.op("Reshape", mean, graph.integers(1, KEYPOINTS, anchors))


def _strip(graph: EagerGraph, x: str, kernels: NDArray[Any], axis: int, step: int) -> str:
    """Depthwise convolution along one axis (0: x); ``kernels`` (out, 1, length)."""
    before, after = _pads(kernels.shape[2], step)
    along_x = axis == 0
    pads = [0, before, 0, after] if along_x else [before, 0, after, 0]
    weights = kernels[:, :, None, :] if along_x else kernels[:, :, :, None]
    strides = [1, step] if along_x else [step, 1]
    return graph.op("Conv", x, graph.constant(weights), group=KEYPOINTS, strides=strides, pads=pads)


def _pads(window: int, step: int) -> tuple[int, int]:
    """Centres window i on pixel (i + 1/2) strides; cell j of the likeness stands for pixel 4 j."""
    return window // 2 - step // 2, window // 2 + 1 - step // 2


def _anchors(input_wh: tuple[int, int]) -> NDArray[np.float64]:
    """(3, A): x, y in strides, and the stride."""
    parts = []
    for stride in STRIDES:
        width, height = input_wh[0] // stride, input_wh[1] // stride
        rows, columns = np.indices((height, width)) + 0.5
        parts.append(np.stack([columns.ravel(), rows.ravel(), np.full(width * height, stride)]))
    return np.concatenate(parts, axis=1)


def _keypoints(graph: EagerGraph, levels: list[_Level], anchors: NDArray[np.float64]) -> str:
    """(1, 51, A): x, y in input pixels, score; decoded as in YOLOv8-pose: (2 p + anchor - 1/2) stride."""
    order = np.zeros((3 * KEYPOINTS, 3 * KEYPOINTS, 1))
    for keypoint in range(KEYPOINTS):
        order[3 * keypoint, keypoint] = order[3 * keypoint + 1, KEYPOINTS + keypoint] = 0.5
        order[3 * keypoint + 2, 2 * KEYPOINTS + keypoint] = 10.0
    bias = np.tile([0.25, 0.25, -4.0], KEYPOINTS)
    raw = []
    for level in levels:
        features = graph.op("Concat", level.places, level.heights, axis=1)
        raw.append(graph.op("Conv", features, graph.constant(order), graph.constant(bias)))
    count = anchors.shape[1]
    joined = graph.op("Reshape", graph.op("Concat", *raw, axis=2), graph.integers(1, KEYPOINTS, 3, count))
    axis = graph.integers(2)
    where = graph.op("Slice", joined, graph.integers(0), graph.integers(2), axis)
    sure = graph.op("Slice", joined, graph.integers(2), graph.integers(3), axis)
    doubled = graph.op("Mul", where, graph.constant(np.float32(2)))
    moved = graph.op("Add", doubled, graph.constant(anchors[None, None, :2] - 0.5))
    where = graph.op("Mul", moved, graph.constant(anchors[2]))
    triples = graph.op("Concat", where, graph.op("Sigmoid", sure), axis=2)
    return graph.op("Reshape", triples, graph.integers(1, 3 * KEYPOINTS, count))


def _person_logits(graph: EagerGraph, levels: list[_Level]) -> str:
    """(1, 1, A): high where all keypoints are in the window and their middle is near the anchor."""
    middle = np.zeros((2, 2 * KEYPOINTS, 1))
    middle[0, :KEYPOINTS], middle[1, KEYPOINTS:] = 1 / KEYPOINTS, 1 / KEYPOINTS
    logits = []
    for stride, level in zip(STRIDES, levels, strict=True):
        away = graph.op("Conv", level.places, graph.constant(middle))
        distance = graph.op("Mul", away, away)
        present = graph.op("Clip", level.heights, graph.constant(np.float32(0)),
                           graph.constant(np.float32(0.5)))  # fmt: skip
        features = graph.op("Concat", present, distance, axis=1)
        # Full marks for a mean height of 0.5; one point less at a distance of 12 pixels.
        weights = np.concatenate([np.full(KEYPOINTS, 40 / KEYPOINTS), np.full(2, -((stride / 12) ** 2))])
        logits.append(
            graph.op("Conv", features, graph.constant(weights.reshape(1, -1, 1)), graph.constant([-16.5]))
        )
    return graph.op("Concat", *logits, axis=2)


def _boxes(graph: EagerGraph, levels: list[_Level], anchors: NDArray[np.float64], lessons: Lessons) -> str:
    """(1, 4, A): centre and size in input pixels, from distributions of the distances to the four sides."""
    steps = np.arange(_BINS)
    raw = []
    for position, level in enumerate(levels):
        weights, bias = _fit_distances(graph, level, anchors[:, anchors[2] == STRIDES[position]], lessons)
        # A softmax over (d b - b^2 / 2) / spread is a bell about d: linear in d, so a convolution makes it.
        logits = (weights[:, None, :] * steps[None, :, None] / _BIN_SPREAD).reshape(4 * _BINS, -1, 1)
        offsets = ((bias[:, None] * steps - steps**2 / 2) / _BIN_SPREAD).ravel()
        raw.append(graph.op("Conv", level.places, graph.constant(logits), graph.constant(offsets)))
    count = anchors.shape[1]
    joined = graph.op("Reshape", graph.op("Concat", *raw, axis=2), graph.integers(1, 4, _BINS, count))
    shares = graph.op("Softmax", graph.op("Transpose", joined, perm=[0, 2, 1, 3]), axis=1)
    mean = graph.op("Conv", shares, graph.constant(steps.reshape(1, _BINS, 1, 1)))
    distances = graph.op("Reshape", mean, graph.integers(1, 4, count))
    low, high = graph.ops("Split", distances, graph.integers(2, 2), outputs=2, axis=1)
    places = graph.constant(anchors[None, :2] * anchors[2] / _BIN_WIDTH_PX)
    first, last = graph.op("Sub", places, low), graph.op("Add", places, high)
    centre = graph.op("Mul", graph.op("Add", first, last), graph.constant(np.float32(0.5)))
    both = graph.op("Concat", centre, graph.op("Sub", last, first), axis=1)
    return graph.op("Mul", both, graph.constant(np.float32(_BIN_WIDTH_PX)))


def _fit_distances(
    graph: EagerGraph, level: _Level, anchors: NDArray[np.float64], lessons: Lessons
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (4, 34) and bias (4,) from places to left, top, right, bottom in bins; near anchors only."""
    rows, targets = [], []
    for places, box in zip(graph.values[level.places], lessons.boxes_xyxy_input_px, strict=True):
        centres = (anchors[:2] * anchors[2]).T
        away = np.abs(centres - (box[:2] + box[2:]) / 2)
        near = np.flatnonzero((away < 24).all(axis=1))
        rows.append(places[0].T[near])
        targets.append(np.hstack([centres[near] - box[:2], box[2:] - centres[near]]) / _BIN_WIDTH_PX)
    features = np.vstack(rows).astype(np.float64)
    features = np.hstack([features, np.ones((len(features), 1))])
    solved = fit_rows(features.T @ features, features.T @ np.vstack(targets))
    return solved[:-1].T, solved[-1]
