"""ONNX ops that only move values: how each of them moves an array, whatever its element type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.onnx_view import OnnxGraph, attribute
from edgepose.host.quantize.repair.network import Array, Move, split_moves, zero_padding

# One for each output; None where the op does more than move values here.
Carries = list[Move] | None


def moves_of(graph: OnnxGraph, node: Any) -> Carries:
    """How a node moves its data to each of its outputs; None where it does not merely move."""
    maker = _MAKERS.get(node.op_type)
    return None if maker is None else maker(graph, node)


def data_inputs(node: Any) -> tuple[str, ...]:
    """The inputs of a carrying node that are data, not parameters."""
    return tuple(node.input) if node.op_type == "Concat" else tuple(node.input[:1])


def is_moving(op_type: str) -> bool:
    """Whether an op may merely move values."""
    return op_type in _MAKERS


def _parameter(graph: OnnxGraph, node: Any, position: int, name: str) -> NDArray[Any] | None:
    """A parameter that is a stored input in newer opsets and an attribute in older ones."""
    if len(node.input) > position and node.input[position]:
        stored = node.input[position]
        return graph.stored(stored).reshape(-1) if graph.is_stored(stored) else None
    value = attribute(node, name)
    return None if value is None else np.asarray(value).reshape(-1)


def _output_shape(graph: OnnxGraph, node: Any) -> tuple[int, ...]:
    # The reader takes only nodes whose sizes are all known.
    return graph.shape(node.output[0]) or ()


def _reshape(graph: OnnxGraph, node: Any) -> Carries:
    shape = _output_shape(graph, node)
    return [lambda values: values.reshape(shape)]


def _same(_graph: OnnxGraph, _node: Any) -> Carries:
    return [lambda values: values]


def _dropout(graph: OnnxGraph, node: Any) -> Carries:
    """Dropout does nothing in inference; its mask says nothing then."""
    asked = len(node.input) > 2 and node.input[2]
    if asked and (not graph.is_stored(asked) or graph.stored(asked).any()):
        return None
    return None if len(node.output) > 1 and graph.readers[node.output[1]] else _same(graph, node)


def _transpose(graph: OnnxGraph, node: Any) -> Carries:
    rank = len(graph.shape(node.input[0]) or ())
    order = tuple(int(axis) for axis in attribute(node, "perm", range(rank)[::-1]))
    return [lambda values: values.transpose(order)]


def _concatenate(_graph: OnnxGraph, node: Any) -> Carries:
    axis = int(attribute(node, "axis"))
    return [lambda *values: np.concatenate(values, axis)]


def _split(graph: OnnxGraph, node: Any) -> Carries:
    axis = int(attribute(node, "axis", 0))
    return split_moves([(graph.shape(name) or ())[axis] for name in node.output], axis)


def _slice(graph: OnnxGraph, node: Any) -> Carries:
    rank = len(graph.shape(node.input[0]) or ())
    starts, ends = _parameter(graph, node, 1, "starts"), _parameter(graph, node, 2, "ends")
    if starts is None or ends is None:
        return None
    axes, steps = _parameter(graph, node, 3, "axes"), _parameter(graph, node, 4, "steps")
    if (axes is None and _is_given(node, 3)) or (steps is None and _is_given(node, 4)):
        return None
    cut = [slice(None)] * rank
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return [lambda values: values[tuple(cut)]]


def _is_given(node: Any, position: int) -> bool:
    return len(node.input) > position and bool(node.input[position])


def _gather(graph: OnnxGraph, node: Any) -> Carries:
    if not graph.is_stored(node.input[1]):
        return None
    indices, axis = graph.stored(node.input[1]).astype(np.int64), int(attribute(node, "axis", 0))
    return [lambda values: np.take(values, indices, axis)]


def _expand(graph: OnnxGraph, node: Any) -> Carries:
    shape = _output_shape(graph, node)
    return [lambda values: np.broadcast_to(values, shape)]


def _tile(graph: OnnxGraph, node: Any) -> Carries:
    repeats = _parameter(graph, node, 1, "repeats")
    return None if repeats is None else [lambda values: np.tile(values, repeats)]


def _pad(graph: OnnxGraph, node: Any) -> Carries:
    pads, shape = _parameter(graph, node, 1, "pads"), graph.shape(node.input[0]) or ()
    mode = attribute(node, "mode", "constant")
    if pads is None or (pads < 0).any() or _is_given(node, 3) or mode not in _PAD_MODES:
        return None
    widths = np.reshape(pads, (2, len(shape))).T
    channel_axis = 1 if len(shape) == 4 else len(shape) - 1
    # A channel that is nothing but padding has no scale of its own.
    if mode == "constant" and (_fill(graph, node) or widths[channel_axis].any()):
        return None
    if mode == "constant":
        return [zero_padding(widths)]
    return [lambda values: np.pad(values, widths, mode=mode)]


_PAD_MODES = frozenset({"constant", "reflect", "edge"})


def _fill(graph: OnnxGraph, node: Any) -> bool:
    """Whether a Pad fills with anything but 0, or with what is not known."""
    if _is_given(node, 2):
        return not graph.is_stored(node.input[2]) or bool(graph.stored(node.input[2]).any())
    return bool(attribute(node, "value", 0.0))


def _depth_to_space(_graph: OnnxGraph, node: Any) -> Carries:
    block, mode = int(attribute(node, "blocksize")), attribute(node, "mode", "DCR")

    def move(values: Array) -> Array:
        n, c, h, w = values.shape
        if mode == "CRD":
            split = values.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            split = values.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        return split.reshape(n, c // block**2, h * block, w * block)

    return [move]


def _space_to_depth(_graph: OnnxGraph, node: Any) -> Carries:
    block = int(attribute(node, "blocksize"))

    def move(values: Array) -> Array:
        n, c, h, w = values.shape
        split = values.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
        return split.reshape(n, c * block**2, h // block, w // block)

    return [move]


_MAKERS: dict[str, Callable[[OnnxGraph, Any], Carries]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Identity": _same,
    "Dropout": _dropout,
    "Transpose": _transpose,
    "Concat": _concatenate,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
