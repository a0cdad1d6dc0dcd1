"""SimCC: keypoint tokens, layer normalization as one op and written out, MatMul and Gemm heads (RTMPose)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.codecs.simcc import SimccCodec
from tests.support.zoo.eager_graph import EagerGraph
from tests.support.zoo.least_squares import fit_rows
from tests.support.zoo.lessons import KEYPOINTS, Lessons, marker_lessons
from tests.support.zoo.silu_blocks import conv_silu, silu
from tests.support.zoo.specs import spec_of, spec_toml

SPEC_TOML = spec_toml(
    "zoo_layernorm_simcc", codec='kind = "simcc"\noutputs = ["simcc_x", "simcc_y"]\nsplit_ratio = 2.0'
)
_MAP_WH, _HIDDEN = (24, 32), 96
_SIGMA_BINS = 6.0


def build(path: Path, seed: int = 0, *, with_spec: bool = True) -> Path:
    """(1, 3, 128, 96) -> ``simcc_x`` (1, 17, 192) and ``simcc_y`` (1, 17, 256)."""
    spec = spec_of(SPEC_TOML)
    lessons = marker_lessons(spec, 48, seed)
    graph = EagerGraph(lessons.inputs, seed, opset=17)
    x = conv_silu(graph, graph.input, 32, 3, stride=2)
    x = conv_silu(graph, conv_silu(graph, x, 64, 3, stride=2), 64, 3)
    maps = graph.fitted_conv(x, lessons.heatmaps(_MAP_WH), 3)
    cells = _MAP_WH[0] * _MAP_WH[1]
    tokens = graph.op("Reshape", maps, graph.integers(1, KEYPOINTS, cells))
    tokens = _written_layer_norm(graph, tokens)
    tokens = graph.op("MatMul", tokens, graph.constant(_marginals(graph)))
    tokens = _gated_unit(graph, _gated_unit(graph, tokens))
    along_x, along_y = _targets(lessons)
    weights, bias = _fit(graph.values[tokens], along_x)
    simcc_x = graph.op(
        "Add", graph.op("MatMul", tokens, graph.constant(weights)), graph.constant(bias), name="simcc_x"
    )
    rows = graph.op("Reshape", tokens, graph.integers(KEYPOINTS, _HIDDEN))
    weights, bias = _fit(graph.values[tokens], along_y)
    flat = graph.op("Gemm", rows, graph.constant(weights.T), graph.constant(bias), transB=1)
    simcc_y = graph.op("Unsqueeze", flat, graph.integers(0), name="simcc_y")
    return graph.save(path, [simcc_x, simcc_y], spec if with_spec else None)


def _written_layer_norm(graph: EagerGraph, x: str) -> str:
    """ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div: as PyTorch exports below opset 17."""
    size = graph.shape(x)[-1]
    centred = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[-1], keepdims=1))
    squared = graph.op("Pow", centred, graph.constant(np.float32(2)))
    variance = graph.op("ReduceMean", squared, axes=[-1], keepdims=1)
    root = graph.op("Sqrt", graph.op("Add", variance, graph.constant(np.float32(1e-5))))
    scaled = graph.op(
        "Mul", graph.op("Div", centred, root), graph.constant(graph.random.uniform(0.9, 1.1, size))
    )
    return graph.op("Add", scaled, graph.constant(graph.random.normal(0, 0.02, size)))


def _gated_unit(graph: EagerGraph, x: str) -> str:
    """The sum of x and W3 (silu(W1 norm(x)) * W2 norm(x)), all random (Shazeer 2020, "GLU Variants")."""
    normal = graph.op(
        "LayerNormalization", x,
        graph.constant(graph.random.uniform(0.5, 1.5, _HIDDEN)),
        graph.constant(graph.random.normal(0, 0.1, _HIDDEN)),
        axis=-1, epsilon=1e-5,
    )  # fmt: skip
    gate, value = (graph.op("MatMul", normal, _random_square(graph, 1.0)) for _ in range(2))
    product = graph.op("Mul", silu(graph, gate), value)
    return graph.op("Add", x, graph.op("MatMul", product, _random_square(graph, 0.3)))


def _random_square(graph: EagerGraph, gain: float) -> str:
    return graph.constant(graph.random.normal(0, gain / np.sqrt(_HIDDEN), (_HIDDEN, _HIDDEN)))


def _marginals(graph: EagerGraph) -> NDArray[Any]:
    """(cells, hidden): the sums over rows and columns of a heatmap, mixed at random."""
    width, height = _MAP_WH
    columns = np.tile(np.eye(width), (height, 1))
    rows = np.repeat(np.eye(height), width, axis=0)
    sums = np.hstack([columns, rows])
    return sums @ graph.random.normal(0, 0.3 / np.sqrt(sums.shape[1]), (sums.shape[1], _HIDDEN))


def _targets(lessons: Lessons) -> tuple[NDArray[Any], NDArray[Any]]:
    codec = SimccCodec(KEYPOINTS, lessons.input_wh)
    everywhere = np.ones(KEYPOINTS, bool)
    pairs = [
        codec.encode(points.astype(np.float32), everywhere, _SIGMA_BINS)
        for points in lessons.keypoints_input_px
    ]
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def _fit(tokens: list[NDArray[Any]], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = np.concatenate([token[0] for token in tokens]).astype(np.float64)
    rows = np.hstack([rows, np.ones((len(rows), 1))])
    solved = fit_rows(rows.T @ rows, rows.T @ targets)
    return solved[:-1], solved[-1]
