"""Recognizes activations that exporters write out in several operators."""

from __future__ import annotations

import math

from edgepose.host.convert.direct.graph_ir import Graph, Op, Value


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
