"""Heatmaps by ReLU: depthwise blocks, channel shuffle, residual sums, transposed convolution (ShuffleNet)."""

from __future__ import annotations

from pathlib import Path

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.lessons import marker_lessons
from tests.support.zoo.specs import spec_of, spec_toml

SPEC_TOML = spec_toml("zoo_shuffle_heatmap")


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 3, 128, 96) -> ``heatmaps`` (1, 17, 32, 24)."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 40, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=13)
    x = graph.op("Relu", graph.conv(graph.input, 32, 3, stride=2))
    x = graph.op("Relu", graph.conv(x, 64, 3, stride=2))
    fine = _shuffle_unit(graph, _shuffle_unit(graph, x))
    deep = graph.op("Relu", graph.conv(fine, 96, 3, stride=2))
    deep = _residual(graph, _shuffle_unit(graph, deep))
    up = graph.op("Relu", graph.conv_transpose(deep, 64))
    joined = graph.op("Relu", graph.op("Add", up, graph.conv(fine, 64, 1)))
    joined = _residual(graph, joined)
    heatmaps = graph.fitted_conv(joined, lessons.heatmaps((24, 32)), 3, name="heatmaps")
    return graph.save(path, [heatmaps], spec if with_spec else None)


def _shuffle_unit(graph: EagerGraph, x: str) -> str:
    """ShuffleNet v2's unit of stride 1: half the channels pass, half go through 1x1, depthwise, 1x1."""
    channels = graph.shape(x)[1]
    half = channels // 2
    kept, changed = graph.ops("Split", x, graph.integers(half, half), outputs=2, axis=1)
    changed = graph.op("Relu", graph.conv(changed, half, 1))
    changed = graph.conv(changed, half, 3, group=half)
    changed = graph.op("Relu", graph.conv(changed, half, 1))
    return _shuffle(graph, graph.op("Concat", kept, changed, axis=1), 2)


def _shuffle(graph: EagerGraph, x: str, groups: int) -> str:
    _, channels, height, width = graph.shape(x)
    split = graph.op("Reshape", x, graph.integers(1, groups, channels // groups, height, width))
    turned = graph.op("Transpose", split, perm=[0, 2, 1, 3, 4])
    return graph.op("Reshape", turned, graph.integers(1, channels, height, width))


def _residual(graph: EagerGraph, x: str) -> str:
    channels = graph.shape(x)[1]
    branch = graph.op("Relu", graph.conv(x, channels, 3, group=channels))
    branch = graph.conv(branch, channels, 1, gain=0.5)
    return graph.op("Relu", graph.op("Add", x, branch))
