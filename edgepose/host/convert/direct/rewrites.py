"""Rewrites of neighbours: folded constants, fused activations and padding, merged reshapes and slices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgepose.host.convert.direct.graph_ir import Graph, Op, Value
from edgepose.host.convert.direct.import_conv import same_padding
from edgepose.host.convert.direct.layout import keeps_order

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
    """Let a convolution read the image itself instead of its blocks: a wider kernel with a wider stride."""
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


# A PAD in front of each convolution is fused into it by XNNPACK; one PAD in front of two is not.
_NOT_SHARED = frozenset(("PAD",))


def free_transposes_to_reshapes(graph: Graph) -> int:
    """Turn each TRANSPOSE that moves no element into a RESHAPE."""
    changes = 0
    for op in graph.ops:
        if op.kind == "TRANSPOSE" and keeps_order(op.inputs[0].shape, op.attrs["perm"]):
            op.kind, op.attrs = "RESHAPE", {"shape": op.output.shape}
            changes += 1
    return changes


def merge_reshapes(graph: Graph) -> int:
    """Read through chains of RESHAPE, and drop those that change nothing."""
    changes = 0
    for op in list(graph.ops):
        if op.kind != "RESHAPE":
            continue
        before = op.inputs[0].producer
        if before is not None and before.kind == "RESHAPE":
            graph.set_input(op, 0, before.inputs[0])
            changes += 1
        if op.inputs[0].shape == op.output.shape and _may_vanish(graph, op):
            graph.replace(op.output, op.inputs[0])
            graph.remove(op)
            changes += 1
    return changes


def _may_vanish(graph: Graph, op: Op) -> bool:
    """An output must be written by an operator of its own, and only once."""
    if not graph.is_output(op.output):
        return True
    return op.inputs[0].producer is not None and not graph.is_output(op.inputs[0])


def share_equal_operators(graph: Graph) -> int:
    """Compute the same thing once."""
    seen: dict[object, Op] = {}
    changes = 0
    for op in list(graph.ops):
        if op.kind in _NOT_SHARED or len(op.outputs) != 1 or graph.is_output(op.output):
            continue
        key = (op.kind, tuple(_identity(v.data, id(v)) for v in op.inputs), repr(sorted(op.attrs.items())))
        first = seen.setdefault(key, op)
        if first is not op:
            graph.replace(op.output, first.output)
            graph.remove(op)
            changes += 1
    return changes


def _identity(data: object, fallback: int) -> object:
    if isinstance(data, np.ndarray) and data.size <= 4096:
        return (data.shape, data.dtype.str, data.tobytes())
    return fallback


def merge_slices(graph: Graph) -> int:
    """Turn a SLICE or STRIDED_SLICE of another into one."""
    changes = 0
    for op in list(graph.ops):
        inner = op.inputs[0].producer if op.kind in {"SLICE", "STRIDED_SLICE"} else None
        if inner is None or inner.kind not in {"SLICE", "STRIDED_SLICE"}:
            continue
        rank = len(op.output.shape)
        steps_in = inner.attrs.get("strides", (1,) * rank)
        steps_out = op.attrs.get("strides", (1,) * rank)
        begin = tuple(
            b + o * s for b, o, s in zip(inner.attrs["begin"], op.attrs["begin"], steps_in, strict=True)
        )
        strides = tuple(a * b for a, b in zip(steps_in, steps_out, strict=True))
        end = tuple(b + (n - 1) * s + 1 for b, n, s in zip(begin, op.output.shape, strides, strict=True))
        graph.set_input(op, 0, inner.inputs[0])
        op.kind = "SLICE" if all(s == 1 for s in strides) else "STRIDED_SLICE"
        op.attrs = {"begin": begin, "end": end, **({} if op.kind == "SLICE" else {"strides": strides})}
        changes += 1
    return changes


def _close(value: Value, wanted: float) -> bool:
    return (
        value.data is not None
        and value.data.size == 1
        and math.isclose(float(value.data.reshape(())), wanted, rel_tol=1e-4)
    )


def _scaled(value: Value, kind: str, constant: float) -> Value | None:
    """Return x where ``value`` is ``kind(x, constant)`` in either order."""
    op = value.producer
    if op is None or op.kind != kind or op.attrs.get("activation"):
        return None
    for x, other in (op.inputs, op.inputs[::-1]):
        if _close(other, constant) and x.data is None:
            return x
    return None


def _factors(value: Value) -> list[Value]:
    """Return the activations that a product of products multiplies, constants left out."""
    op = value.producer
    if op is None or op.kind != "MUL" or op.attrs.get("activation"):
        return [value]
    return [factor for part in op.inputs if part.data is None for factor in _factors(part)]


def _constant_factor(value: Value) -> float:
    """Return the product of the scalar constants in a product of products; NaN where one is no scalar."""
    op = value.producer
    if value.data is not None:
        return float(value.data.reshape(())) if value.data.size == 1 else math.nan
    if op is None or op.kind != "MUL" or op.attrs.get("activation"):
        return 1.0
    return math.prod(_constant_factor(part) for part in op.inputs)


def _hard_swish(op: Op) -> Value | None:
    """Return x where ``op`` gives x * relu6(x + 3) / 6."""
    parts = _factors(op.output)
    if len(parts) != 2 or not math.isclose(_constant_factor(op.output), 1 / 6, rel_tol=1e-4):
        return None
    for x, gate in (parts, parts[::-1]):
        clipped = gate.producer
        if clipped is not None and clipped.kind == "RELU6" and _scaled(clipped.inputs[0], "ADD", 3.0) is x:
            return x
    return None


def _gelu(op: Op) -> Value | None:
    """Return x where ``op`` gives x * (1 + erf(x / sqrt 2)) / 2."""
    parts = _factors(op.output)
    if len(parts) != 2 or not math.isclose(_constant_factor(op.output), 0.5, rel_tol=1e-4):
        return None
    for x, gate in (parts, parts[::-1]):
        inner = _scaled(gate, "ADD", 1.0)
        erf = inner.producer if inner is not None else None
        if erf is not None and erf.kind == "ERF" and _scaled(erf.inputs[0], "MUL", math.sqrt(0.5)) is x:
            return x
    return None


def recognize_activations(graph: Graph) -> int:
    """Replace written-out hard-swish and GELU; ERF has no operator of its own."""
    changes = 0
    for op in list(graph.ops):
        if op.kind != "MUL":
            continue
        for kind, match in (("HARD_SWISH", _hard_swish), ("GELU", _gelu)):
            x = match(op)
            if x is not None and x.shape == op.output.shape:
                result = graph.emit(kind, [x], x.shape, {"approximate": False}, origin=op.origin)
                graph.replace(op.output, result)
                changes += 1
                break
    return changes


def divide_by_root_with_rsqrt(graph: Graph) -> int:
    """Turn x / sqrt(y) into x * rsqrt(y): SQRT and DIV ruin a static int8 model without an error."""
    changes = 0
    for op in list(graph.ops):
        root = op.inputs[1].producer if op.kind == "DIV" else None
        if root is None or root.kind != "SQRT":
            continue
        y = root.inputs[0]
        inverse = graph.emit("RSQRT", [y], y.shape, origin=op.origin)
        graph.set_inputs(op, [op.inputs[0], inverse])
        op.kind = "MUL"
        changes += 1
    return changes
