"""Folds constants, activations and padding into their neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Graph, Op, Value
from edgepose.host.convert.direct.import_conv import same_padding

CONVOLUTIONS = frozenset(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"))
_TAKES_ACTIVATION = CONVOLUTIONS | {"ADD", "SUB", "MUL", "DIV"}
_FUSED = frozenset(("RELU", "RELU6"))


def _per_channel(value: Value, like: Value) -> NDArray[np.float32] | None:
    """Return a constant that differs along the last axis only as (C,), or None."""
    channels = like.shape[-1]
    if value.data is None or len(value.shape) > len(like.shape):
        return None
    if value.data.size == 1:
        return np.full(channels, value.data.reshape(()), np.float32)
    return value.data.reshape(-1) if value.shape[-1] == value.data.size == channels else None


def _scaled_outputs(op: Op, factor: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = op.inputs[1].data
    assert weights is not None  # noqa: S101  (the caller asked)
    shape = (1, 1, 1, -1) if op.kind == "DEPTHWISE_CONV_2D" else (-1, *(1 for _ in weights.shape[1:]))
    return np.asarray(weights * factor.reshape(shape), np.float32)


def _own_convolution(graph: Graph, value: Value, readers: int = 1) -> Op | None:
    """Return the convolution that writes ``value`` where nothing but ``readers`` operands read it."""
    op = value.producer
    if op is None or op.kind not in CONVOLUTIONS or op.attrs.get("activation"):
        return None
    if len(value.users) != readers or graph.is_output(value) or any(v.data is None for v in op.inputs[1:3]):
        return None
    return op


def fold_constants_into_convolutions(graph: Graph) -> int:
    """Fold a factor or summand per channel, and a value added to itself, into the convolution before it."""
    changes = 0
    for op in list(graph.ops):
        if op.kind not in {"ADD", "MUL", "SUB"} or op.attrs.get("activation"):
            continue
        a, b = op.inputs
        if op.kind != "SUB" and a.data is not None:
            a, b = b, a
        doubled = op.kind == "ADD" and a is b
        constant = np.full(a.shape[-1], 2.0, np.float32) if doubled else _per_channel(b, a)
        conv = _own_convolution(graph, a, 2 if doubled else 1)
        if conv is None or constant is None or op.output.shape != a.shape:
            continue
        bias = conv.inputs[2].data
        assert bias is not None  # noqa: S101
        if doubled or op.kind == "MUL":
            graph.set_input(conv, 1, graph.constant(_scaled_outputs(conv, constant), conv.inputs[1].name))
            bias = bias * constant
        else:
            bias = bias - constant if op.kind == "SUB" else bias + constant
        graph.set_input(conv, 2, graph.constant(bias.astype(np.float32), conv.inputs[2].name))
        graph.replace(op.output, a)
        graph.remove(op)
        changes += 1
    return changes


def fuse_activations(graph: Graph) -> int:
    """Let the operator in front apply a RELU or RELU6 that only it feeds."""
    changes = 0
    for op in list(graph.ops):
        producer = op.inputs[0].producer if op.kind in _FUSED else None
        if producer is None or producer.kind not in _TAKES_ACTIVATION or producer.attrs.get("activation"):
            continue
        if graph.only_user(op.inputs[0]) is not op:
            continue
        producer.attrs["activation"] = op.kind
        graph.replace(op.output, producer.output)
        graph.remove(op)
        changes += 1
    return changes


def fuse_padding(graph: Graph) -> int:
    """Drop a PAD with zeros where the convolution's SAME padding adds exactly the same."""
    changes = 0
    for op in list(graph.ops):
        pad = op.inputs[0].producer if op.kind in {"CONV_2D", "DEPTHWISE_CONV_2D"} else None
        if pad is None or pad.kind != "PAD" or op.attrs["padding"] != "VALID":
            continue
        windows = [
            (k - 1) * op.attrs[f"dilation_{a}"] + 1
            for k, a in zip(op.inputs[1].shape[1:3], "hw", strict=True)
        ]
        sizes = pad.inputs[0].shape[1:3]
        strides = (op.attrs["stride_h"], op.attrs["stride_w"])
        same = [same_padding(s, w, t) for s, w, t in zip(sizes, windows, strides, strict=True)]
        if tuple(pad.attrs["pads"]) != ((0, 0), *same, (0, 0)):
            continue
        graph.set_input(op, 0, pad.inputs[0])
        op.attrs["padding"] = "SAME"
        changes += 1
    return changes


def multiply_for_lone_activations(graph: Graph) -> int:
    """Turn a RELU or RELU6 that nothing can apply into a MUL by one that applies it.

    Quantized to int8, a RELU of its own runs in the interpreter's reference code (about 1 ms for 120,000
    elements, where a MUL in XNNPACK takes 10 us), and a RELU6 stays float.
    """
    changes = 0
    for op in list(graph.ops):
        if op.kind not in _FUSED or op.output.dtype != np.float32:
            continue
        graph.set_inputs(op, [op.inputs[0], graph.constant(np.ones((), np.float32), "one")])
        op.attrs = {"activation": op.kind}
        op.kind = "MUL"
        changes += 1
    return changes


def fold_space_to_depth(graph: Graph) -> int:
    """Let a convolution read the picture itself instead of its blocks: a wider kernel with a wider stride."""
    changes = 0
    for op in list(graph.ops):
        blocks = op.inputs[0].producer if op.kind == "CONV_2D" else None
        if blocks is None or blocks.kind != "SPACE_TO_DEPTH" or op.inputs[1].data is None:
            continue
        if graph.only_user(op.inputs[0]) is not op or max(op.attrs["dilation_h"], op.attrs["dilation_w"]) > 1:
            continue
        if op.inputs[1].shape[3] != op.inputs[0].shape[3]:
            continue
        _read_unblocked(graph, op, blocks)
        changes += 1
    return changes


def _read_unblocked(graph: Graph, op: Op, blocks: Op) -> None:
    block, x = int(blocks.attrs["block"]), blocks.inputs[0]
    weights = op.inputs[1].data
    assert weights is not None  # noqa: S101
    out, height, width, _ = weights.shape
    parts = weights.reshape(out, height, width, block, block, x.shape[3]).transpose(0, 1, 3, 2, 4, 5)
    kernel = np.ascontiguousarray(parts.reshape(out, height * block, width * block, x.shape[3]))
    strides = (op.attrs["stride_h"], op.attrs["stride_w"])
    pads = [(0, 0), (0, 0)]
    if op.attrs["padding"] == "SAME":
        pads = [
            same_padding(s, k, t)
            for s, k, t in zip(op.inputs[0].shape[1:3], (height, width), strides, strict=True)
        ]
    padded = ((0, 0), *((begin * block, end * block) for begin, end in pads), (0, 0))
    shape = tuple(size + sum(row) for size, row in zip(x.shape, padded, strict=True))
    source = graph.emit("PAD", [x], shape, {"pads": padded}, origin=op.origin) if shape != x.shape else x
    graph.set_inputs(op, [source, graph.constant(kernel, op.inputs[1].name), op.inputs[2]])
    op.attrs.update(padding="VALID", stride_h=strides[0] * block, stride_w=strides[1] * block)
