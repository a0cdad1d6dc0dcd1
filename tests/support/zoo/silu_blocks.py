"""Blocks of YOLOv8's kind: SiLU written as Sigmoid and Mul, split, bottlenecks, concat, pooled pyramid."""

from __future__ import annotations

from tests.support.zoo.eager_graph import EagerGraph


def silu(graph: EagerGraph, x: str) -> str:
    """X * sigmoid(x)."""
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def conv_silu(graph: EagerGraph, x: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
    """Convolution and SiLU."""
    return silu(graph, graph.conv(x, channels, kernel, stride=stride))


def split_bottleneck(graph: EagerGraph, x: str) -> str:
    """1x1, split, a residual bottleneck on one half, all parts concatenated, 1x1 ("C2f")."""
    channels = graph.shape(x)[1]
    half = channels // 2
    kept, source = graph.ops(
        "Split", conv_silu(graph, x, channels, 1), graph.integers(half, half), outputs=2, axis=1
    )
    changed = silu(graph, graph.conv(conv_silu(graph, source, half), half, 3, gain=0.6))
    summed = graph.op("Add", source, changed)
    return conv_silu(graph, graph.op("Concat", kept, source, summed, axis=1), channels, 1)


def pooled_pyramid(graph: EagerGraph, x: str) -> str:
    """1x1, three maxima over growing windows, concat, 1x1 ("SPPF")."""
    channels = graph.shape(x)[1]
    parts = [conv_silu(graph, x, channels // 2, 1)]
    for _ in range(3):
        parts.append(graph.op("MaxPool", parts[-1], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4))
    return conv_silu(graph, graph.op("Concat", *parts, axis=1), channels, 1)
