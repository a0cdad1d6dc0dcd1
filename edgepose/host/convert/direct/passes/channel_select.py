"""Recognizes operators that only pick or reorder channels.

``CHANNEL_SELECT`` exists between two passes only: output channel i is input channel ``indices[i]``.
"""

from __future__ import annotations

import numpy as np

from edgepose.host.convert.direct.graph_ir import Graph, Op
from edgepose.host.convert.direct.reshape_groups import reshape_groups

KIND = "CHANNEL_SELECT"


def find_channel_selects(graph: Graph) -> int:
    """Replace channel shuffles, channel gathers and channel slices.

    A graph without a real reordering is left alone: plain slices are best as they are.

    Returns:
        The number of operators that reorder channels.
    """
    found = [(op, indices) for op in graph.ops if (indices := _shuffle(op) or _gather(op))]
    if not found:
        return 0
    slices = [(op, indices) for op in graph.ops if (indices := _slice(op))]
    for op, indices in found + slices:
        source = op.inputs[0]
        if op.kind == "RESHAPE":
            transpose = op.inputs[0].producer
            assert transpose is not None and transpose.inputs[0].producer is not None  # noqa: S101, PT018
            source = transpose.inputs[0].producer.inputs[0]
        graph.set_inputs(op, [source])
        op.kind, op.attrs = KIND, {"indices": indices}
    return len(found)


def _shuffle(op: Op) -> tuple[int, ...] | None:
    """RESHAPE, TRANSPOSE, RESHAPE that splits the last axis, reorders the parts and joins them again."""
    transpose = op.inputs[0].producer if op.kind == "RESHAPE" else None
    if transpose is None or transpose.kind != "TRANSPOSE":
        return None
    split = transpose.inputs[0].producer
    if split is None or split.kind != "RESHAPE" or split.inputs[0].shape != op.output.shape:
        return None
    shape, parts, perm = op.output.shape, split.output.shape, transpose.attrs["perm"]
    groups = reshape_groups(shape, parts)
    if not groups or groups[-1][0] != (len(shape) - 1,):
        return None
    tail = groups[-1][1]
    first = tail[0]
    if tuple(perm[:first]) != tuple(range(first)) or tail != tuple(range(first, len(parts))):
        return None
    order = [axis - first for axis in perm[first:]]
    indices = np.arange(shape[-1]).reshape(parts[first:]).transpose(order).reshape(-1)
    return tuple(int(i) for i in indices)


def _gather(op: Op) -> tuple[int, ...] | None:
    if op.kind != "GATHER" or op.attrs["axis"] != len(op.output.shape) - 1:
        return None
    indices: tuple[int, ...] = op.attrs["indices"]
    return indices if len(set(indices)) == len(indices) else None


def _slice(op: Op) -> tuple[int, ...] | None:
    if op.kind != "SLICE" or op.output.shape[:-1] != op.inputs[0].shape[:-1]:
        return None
    return tuple(range(op.attrs["begin"][-1], op.attrs["end"][-1]))


def shuffle_groups(order: list[int]) -> int:
    """Return g where ``order`` is (g, n) channels read column by column, else 0."""
    channels = len(order)
    groups = channels // order[1] if channels > 1 and order[1] > 1 and channels % order[1] == 0 else 0
    if groups > 1 and order == np.arange(channels).reshape(groups, -1).T.reshape(-1).tolist():
        return groups
    return 0
