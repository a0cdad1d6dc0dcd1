"""Single person, whole picture, NHWC: spatial softmax, places and scores in one tensor (MoveNet)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.lessons import KEYPOINTS, marker_lessons
from tests.support.zoo.specs import SIGNED, STRETCH, spec_of, spec_toml

SPEC_TOML = spec_toml(
    "zoo_movenet_single",
    paradigm="single_person",
    size=STRETCH,
    layout="NHWC",
    normalization=SIGNED,
    codec='kind = "movenet"',
)
_MAP_WH = (40, 32)
_SHARPNESS = 50.0
_SIGMA_CELLS = 1.2


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 128, 160, 3) -> ``keypoints`` (1, 1, 17, 3): y, x, score, normalized."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 48, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=13)
    x = graph.op("Transpose", graph.input, perm=[0, 3, 1, 2])
    x = _relu6(graph, graph.conv(x, 32, 3, stride=2))
    fine = _separable(graph, _relu6(graph, graph.conv(x, 64, 3, stride=2)))
    deep = _separable(graph, _relu6(graph, graph.conv(fine, 96, 3, stride=2)))
    up = graph.resize(graph.conv(deep, 64, 1), 2, "linear")
    joined = _relu6(graph, graph.op("Add", up, graph.conv(fine, 64, 1)))
    joined = _relu6(graph, graph.conv(joined, 96, 3))
    heatmaps = graph.fitted_conv(joined, lessons.heatmaps(_MAP_WH, _SIGMA_CELLS), 3)
    keypoints = _read_out(graph, heatmaps)
    return graph.save(path, [keypoints], spec if with_spec else None)


def _relu6(graph: EagerGraph, x: str) -> str:
    return graph.op("Clip", x, graph.constant(np.float32(0)), graph.constant(np.float32(6)))


def _separable(graph: EagerGraph, x: str) -> str:
    channels = graph.shape(x)[1]
    y = _relu6(graph, graph.conv(x, channels, 3, group=channels))
    return graph.op("Add", x, graph.conv(y, channels, 1, gain=0.5))


def _read_out(graph: EagerGraph, heatmaps: str) -> str:
    """The mean place under a sharp softmax, and the height of the maximum."""
    width, height = _MAP_WH
    flat = graph.op("Reshape", heatmaps, graph.integers(1, KEYPOINTS, width * height))
    shares = graph.op("Softmax", graph.op("Mul", flat, graph.constant(np.float32(_SHARPNESS))), axis=-1)
    rows, columns = np.indices((height, width))
    places = np.stack([rows.ravel() / height, columns.ravel() / width], axis=1)
    where = graph.op("MatMul", shares, graph.constant(places))
    highest = graph.op("ReduceMax", flat, axes=[-1], keepdims=1)
    score = graph.op("Clip", highest, graph.constant(np.float32(0)), graph.constant(np.float32(1)))
    joined = graph.op("Concat", where, score, axis=2)
    return graph.op("Reshape", joined, graph.integers(1, 1, KEYPOINTS, 3), name="keypoints")
