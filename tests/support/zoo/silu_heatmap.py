"""Heatmaps by SiLU: split bottlenecks, pooled pyramid, concatenated scales (YOLOv8's trunk)."""

from __future__ import annotations

from pathlib import Path

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.lessons import marker_lessons
from tests.support.zoo.silu_blocks import conv_silu, pooled_pyramid, split_bottleneck
from tests.support.zoo.specs import UNIT, spec_of, spec_toml

SPEC_TOML = spec_toml("zoo_silu_heatmap", normalization=UNIT)


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 3, 128, 96) in 0..1 -> ``heatmaps`` (1, 17, 32, 24)."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 40, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=13)
    x = conv_silu(graph, graph.input, 32, 3, stride=2)
    fine = split_bottleneck(graph, conv_silu(graph, x, 64, 3, stride=2))
    deep = split_bottleneck(graph, conv_silu(graph, fine, 96, 3, stride=2))
    up = graph.resize(pooled_pyramid(graph, deep), 2, "nearest")
    joined = conv_silu(graph, graph.op("Concat", up, fine, axis=1), 72, 1)
    heatmaps = graph.fitted_conv(joined, lessons.heatmaps((24, 32)), 3, name="heatmaps")
    return graph.save(path, [heatmaps], spec if with_spec else None)
