"""A pass, its contract, the shape that each operator must give, and the runner that checks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.errors import ModelError
from edgepose.host.convert.direct.graph_ir import Graph, Op, Shape
from edgepose.host.convert.direct.layout import BINARY, REDUCE, UNARY
from edgepose.host.convert.direct.operator_table import SPELLINGS


def _conv_extent(op: Op, axis: int, kernel: int) -> int:
    letter = "hw"[axis - 1]
    window = (kernel - 1) * op.attrs.get(f"dilation_{letter}", 1) + 1
    size, stride = op.inputs[0].shape[axis], op.attrs[f"stride_{letter}"]
    return -(-size // stride) if op.attrs["padding"] == "SAME" else (size - window) // stride + 1


def _conv(op: Op) -> Shape:
    weights, bias = op.inputs[1].shape, op.inputs[2].shape
    x = op.inputs[0].shape
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    out = weights[3] if depthwise else weights[0]
    fits = weights[3] == x[3] * op.attrs["multiplier"] if depthwise else x[3] % weights[3] == 0
    if not fits or bias != (out,):
        raise ModelError(f"{op.kind} ({op.origin}) has weights {weights} and bias {bias} for an input {x}.")
    return (x[0], _conv_extent(op, 1, weights[1]), _conv_extent(op, 2, weights[2]), out)


def _pool(op: Op) -> Shape:
    x = op.inputs[0].shape
    return (x[0], _conv_extent(op, 1, op.attrs["filter_h"]), _conv_extent(op, 2, op.attrs["filter_w"]), x[3])


def _concat(op: Op) -> Shape:
    shape = list(op.inputs[0].shape)
    shape[op.attrs["axis"]] = sum(value.shape[op.attrs["axis"]] for value in op.inputs)
    return tuple(shape)


def _pad(op: Op) -> Shape:
    return tuple(size + sum(row) for size, row in zip(op.inputs[0].shape, op.attrs["pads"], strict=True))


def _slice(op: Op) -> Shape:
    strides = op.attrs.get("strides", (1,) * len(op.attrs["begin"]))
    return tuple(
        -(-(e - b) // s) for b, e, s in zip(op.attrs["begin"], op.attrs["end"], strides, strict=True)
    )


def _reduce(op: Op) -> Shape:
    return tuple(1 if axis in op.attrs["axes"] else size for axis, size in enumerate(op.inputs[0].shape))


def _reshape(op: Op) -> Shape:
    if np.prod(op.inputs[0].shape) != np.prod(op.attrs["shape"]):
        raise ModelError(f"RESHAPE ({op.origin}) from {op.inputs[0].shape} to {op.attrs['shape']}.")
    return tuple(op.attrs["shape"])


def _axis_replaced(op: Op) -> Shape:
    x, axis = op.inputs[0].shape, op.attrs["axis"]
    middle = (len(op.attrs["indices"]),) if op.kind == "GATHER" else ()
    return (*x[:axis], *middle, *x[axis + 1 :])


def _blocks(op: Op) -> Shape:
    n, h, w, c = op.inputs[0].shape
    b = op.attrs["block"]
    return (n, h * b, w * b, c // (b * b)) if op.kind == "DEPTH_TO_SPACE" else (n, h // b, w // b, c * b * b)


RULES: dict[str, Callable[[Op], Shape]] = {
    **dict.fromkeys((*UNARY, "SOFTMAX"), lambda op: op.inputs[0].shape),
    **dict.fromkeys(BINARY, lambda op: np.broadcast_shapes(*(value.shape for value in op.inputs))),
    **dict.fromkeys(REDUCE, _reduce),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _conv),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _pool),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
    **dict.fromkeys(
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        lambda op: (op.inputs[0].shape[0], *op.attrs["size"], op.inputs[0].shape[3]),
    ),
    **dict.fromkeys(("GATHER", "ARG_MAX"), _axis_replaced),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
    "CONCATENATION": _concat,
    "FULLY_CONNECTED": lambda op: (*op.inputs[0].shape[:-1], op.inputs[1].shape[0]),
    "RESHAPE": _reshape,
    "TILE": lambda op: tuple(s * m for s, m in zip(op.inputs[0].shape, op.attrs["multiples"], strict=True)),
    "TRANSPOSE": lambda op: tuple(op.inputs[0].shape[axis] for axis in op.attrs["perm"]),
    "TRANSPOSE_CONV": lambda op: tuple(op.attrs["output_shape"]),
}


def check_well_formed(graph: Graph) -> None:
    """Check links, order and every operator's output shape.

    Raises:
        ModelError: If an operator reads a value written behind it, is not linked to its values,
            or its output's shape is not what its operands give.
    """
    written = {id(value) for value in graph.inputs}
    for op in graph.ops:
        for value in op.inputs:
            if value.data is None and id(value) not in written:
                raise ModelError(f"{op.kind} ({op.origin}) reads {value.name} before it is written.")
            if not any(user is op for user in value.users):
                raise ModelError(f"{op.kind} ({op.origin}) is not among the users of {value.name}.")
        rule = RULES.get(op.kind)
        if rule is not None and (found := rule(op)) != op.output.shape:
            raise ModelError(f"{op.kind} ({op.origin}) gives {found}, not {op.output.shape}.")
        for value in op.outputs:
            if value.producer is not op:
                raise ModelError(f"{value.name} does not know its producer {op.kind} ({op.origin}).")
            written.add(id(value))
    for value in graph.outputs:
        if id(value) not in written:
            raise ModelError(f"Output {value.name} is not written by any operator.")


Property = Callable[[Graph, Op], str]


def _transposes_cancelled(_graph: Graph, op: Op) -> str:
    producer = op.inputs[0].producer if op.kind == "TRANSPOSE" else None
    twice = producer is not None and producer.kind == "TRANSPOSE"
    return f"two TRANSPOSE follow each other at {op.origin}" if twice else ""


def _nothing_dead(graph: Graph, op: Op) -> str:
    read = any(out.users or graph.is_output(out) for out in op.outputs)
    return "" if read else f"nobody reads {op.kind} ({op.origin})"


def _spelled(_graph: Graph, op: Op) -> str:
    return "" if op.kind in SPELLINGS else f"{op.kind} ({op.origin}) is no TensorFlow Lite operator"


def _activations_apart(_graph: Graph, op: Op) -> str:
    activation = op.attrs.get("activation")
    return f"{op.kind} ({op.origin}) has a fused {activation}" if activation else ""


# What is wrong with an operator of the graph, empty where it is as it should be.
PROPERTIES: dict[str, Property] = {
    "activations_apart": _activations_apart,
    "nothing_dead": _nothing_dead,
    "spelled": _spelled,
    "transposes_cancelled": _transposes_cancelled,
}


@dataclass(frozen=True)
class GraphPass:
    """One rewrite.

    Attributes:
        run: Rewrites the graph and returns the number of rewrites.
        requires: Properties (keys of ``PROPERTIES``) that must hold before.
        ensures: Properties that hold after.
    """

    name: str
    run: Callable[[Graph], int]
    requires: tuple[str, ...] = ()
    ensures: tuple[str, ...] = ()


def run_passes(graph: Graph, passes: Sequence[GraphPass]) -> list[tuple[str, int]]:
    """Run ``passes`` in order, each between the checks of its contract; every graph must stay well formed.

    Returns:
        (name, number of rewrites) of each pass.

    Raises:
        ModelError: If a contract is broken: a bug in a pass, found before a wrong file is written.
    """
    counts = []
    for item in passes:
        _check(graph, item, item.requires, "requires")
        counts.append((item.name, item.run(graph)))
        graph.remove_dead()
        graph.sort()
        check_well_formed(graph)
        _check(graph, item, item.ensures, "ensures")
    return counts


def _check(graph: Graph, item: GraphPass, names: Sequence[str], verb: str) -> None:
    for name in names:
        for op in graph.ops:
            if problem := PROPERTIES[name](graph, op):
                raise ModelError(f"The pass {item.name} {verb} {name}, but {problem}.")
