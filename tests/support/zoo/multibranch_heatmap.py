"""Heatmaps: branches of two sizes that exchange, staircases of splits, resizes, pools (HRNet, Res2Net)."""

from __future__ import annotations

from pathlib import Path

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.lessons import marker_lessons
from tests.support.zoo.specs import spec_of, spec_toml

SPEC_TOML = spec_toml("zoo_multibranch_heatmap")


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 3, 128, 96) -> ``heatmaps`` (1, 17, 32, 24)."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 40, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=16)
    x = graph.op("Relu", graph.conv(graph.input, 48, 3, stride=2))
    pooled = graph.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    averaged = graph.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    fine = graph.op("Relu", graph.conv(graph.op("Concat", pooled, averaged, axis=1), 64, 3))
    coarse = graph.op("Relu", graph.conv(fine, 64, 3, stride=2))
    for mode in ("nearest", "linear"):
        fine, coarse = _staircase(graph, fine), _staircase(graph, coarse)
        fine, coarse = _exchange(graph, fine, coarse, mode)
    joined = graph.op("Concat", fine, graph.resize(coarse, 2, "linear"), axis=1)
    joined = graph.op("LeakyRelu", graph.conv(joined, 72, 1), alpha=0.1)
    heatmaps = graph.fitted_conv(joined, lessons.heatmaps((24, 32)), 3, name="heatmaps")
    return graph.save(path, [heatmaps], spec if with_spec else None)


def _staircase(graph: EagerGraph, x: str) -> str:
    """Four splits; each is convolved after the result of the one before was added (Res2Net)."""
    quarter = graph.shape(x)[1] // 4
    parts = graph.ops("Split", x, graph.integers(*[quarter] * 4), outputs=4, axis=1)
    results, before = [parts[0]], ""
    for part in parts[1:]:
        source = graph.op("Add", part, before) if before else part
        before = graph.op("Relu", graph.conv(source, quarter, 3))
        results.append(before)
    return graph.op("Concat", *results, axis=1)


def _exchange(graph: EagerGraph, fine: str, coarse: str, mode: str) -> tuple[str, str]:
    channels = graph.shape(fine)[1]
    raised = graph.resize(graph.conv(coarse, channels, 1, gain=0.5), 2, mode)
    lowered = graph.conv(fine, channels, 3, stride=2, gain=0.5)
    return (
        graph.op("Relu", graph.op("Add", fine, raised)),
        graph.op("Relu", graph.op("Add", coarse, lowered)),
    )
