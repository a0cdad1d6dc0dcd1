"""Heatmaps: inverted residuals, hard-swish both ways, squeeze-and-excitation, ReLU6 (MobileNetV3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.lessons import marker_lessons
from tests.support.zoo.specs import SIGNED, spec_of, spec_toml

SPEC_TOML = spec_toml("zoo_mobile_heatmap", normalization=SIGNED, order="BGR")


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 3, 128, 96), BGR -> ``heatmaps`` (1, 17, 32, 24)."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 40, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=14)
    x = _written_hard_swish(graph, graph.conv(graph.input, 32, 3, stride=2))
    x = _relu6(graph, graph.conv(x, 64, 3, stride=2))
    x = _inverted_residual(graph, x, hard_sigmoid=True)
    fine = _inverted_residual(graph, x, hard_sigmoid=False)
    deep = graph.op("HardSwish", graph.conv(fine, 96, 3, stride=2))
    deep = _inverted_residual(graph, deep, hard_sigmoid=True)
    up = graph.resize(deep, 2, "nearest")
    joined = graph.op("Add", graph.conv(up, 64, 3), graph.conv(fine, 64, 1))
    joined = graph.op("HardSwish", joined)
    heatmaps = graph.fitted_conv(joined, lessons.heatmaps((24, 32)), 3, name="heatmaps")
    return graph.save(path, [heatmaps], spec if with_spec else None)


def _relu6(graph: EagerGraph, x: str) -> str:
    return graph.op("Clip", x, graph.constant(np.float32(0)), graph.constant(np.float32(6)))


def _written_hard_swish(graph: EagerGraph, x: str) -> str:
    """X * hard_sigmoid(x), as exporters below opset 14 write it."""
    return graph.op("Mul", x, graph.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _gate(graph: EagerGraph, x: str, *, hard_sigmoid: bool) -> str:
    """Squeeze and excitation: each channel times a share that depends on the whole picture."""
    channels = graph.shape(x)[1]
    squeezed = graph.op("GlobalAveragePool", x)
    squeezed = graph.op("Relu", graph.conv(squeezed, channels // 4, 1))
    raw = graph.conv(squeezed, channels, 1, gain=0.7)
    if hard_sigmoid:
        return graph.op("Mul", x, graph.op("HardSigmoid", raw, alpha=1 / 6, beta=0.5))
    return graph.op("Mul", x, graph.op("Sigmoid", raw))


def _inverted_residual(graph: EagerGraph, x: str, *, hard_sigmoid: bool) -> str:
    channels = graph.shape(x)[1]
    wide = graph.op("HardSwish", graph.conv(x, 2 * channels, 1))
    wide = _relu6(graph, graph.conv(wide, 2 * channels, 3, group=2 * channels))
    wide = _gate(graph, wide, hard_sigmoid=hard_sigmoid)
    return graph.op("Add", x, graph.conv(wide, channels, 1, gain=0.5))
