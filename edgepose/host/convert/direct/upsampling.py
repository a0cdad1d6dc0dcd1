"""Nearest upsampling by whole factors: fewer of them, and by operators that XNNPACK runs."""

from __future__ import annotations

from edgepose.host.convert.direct.graph_ir import Graph, Op, Value
from edgepose.host.convert.direct.order_channels import MAX_CONCAT_OPERANDS


def _factors(op: Op | None) -> tuple[int, int] | None:
    """Return (vertical, horizontal) where ``op`` repeats every pixel that many times."""
    if op is None or op.kind != "RESIZE_NEAREST_NEIGHBOR" or op.attrs["align"]:
        return None
    (_, h, w, _), (_, out_h, out_w, _) = op.inputs[0].shape, op.output.shape
    return (out_h // h, out_w // w) if out_h % h == 0 and out_w % w == 0 else None


def nest_upsampled_sums(graph: Graph) -> int:
    """Add upsampled values where they are small: a + up2(b) + up4(c) is a + up2(b + up2(c))."""
    changes = 0
    for op in list(graph.ops):
        user = graph.only_user(op.output)
        if not _is_plain_sum(op) or (user is not None and _is_plain_sum(user)):
            continue
        leaves, sums = _leaves(graph, op)
        ups = [leaf for leaf in leaves if _factors(leaf.producer) and graph.only_user(leaf)]
        ups.sort(key=lambda leaf: -leaf.producer.inputs[0].shape[1] if leaf.producer else 0)
        chained = _chain(ups)
        if len(chained) < 2:
            continue
        rest = [leaf for leaf in leaves if not any(leaf is up for up in chained)]
        result = _nested(graph, chained, op.origin)
        for leaf in reversed(rest):
            result = graph.emit("ADD", [leaf, result], op.output.shape, {"activation": ""}, origin=op.origin)
        graph.replace(op.output, result)
        for dead in sums:
            graph.remove(dead)
        changes += 1
        graph.remove_dead()
    return changes


def _is_plain_sum(op: Op) -> bool:
    shapes = {value.shape for value in op.inputs}
    return (
        op.kind == "ADD"
        and not op.attrs.get("activation")
        and len(shapes) == 1
        and op.inputs[0] is not op.inputs[1]
    )


def _leaves(graph: Graph, op: Op) -> tuple[list[Value], list[Op]]:
    """Return what a tree of sums adds, and its operators from the root on."""
    leaves: list[Value] = []
    sums = [op]
    for value in op.inputs:
        inner = value.producer
        if inner is not None and _is_plain_sum(inner) and graph.only_user(value) is op:
            more, nested = _leaves(graph, inner)
            leaves.extend(more)
            sums.extend(nested)
        else:
            leaves.append(value)
    return leaves, sums


def _chain(ups: list[Value]) -> list[Value]:
    """Return those of ``ups`` (largest source first) where each source is a whole multiple of the next."""
    chained: list[Value] = []
    for up in ups:
        source = up.producer.inputs[0].shape if up.producer else ()
        before = chained[-1].producer.inputs[0].shape if chained and chained[-1].producer else source
        if before[1] % source[1] == 0 and before[2] % source[2] == 0:
            chained.append(up)
    return chained


def _nested(graph: Graph, ups: list[Value], origin: str) -> Value:
    assert ups[0].producer is not None  # noqa: S101
    first = ups[0].producer
    inner = first.inputs[0]
    for position in range(len(ups) - 1, 0, -1):
        producer, outer = ups[position].producer, ups[position - 1].producer
        assert producer is not None and outer is not None  # noqa: S101, PT018
        small = producer.inputs[0] if position == len(ups) - 1 else inner
        target = outer.inputs[0]
        grown = _upsampled(graph, small, target, origin)
        inner = graph.emit("ADD", [target, grown], target.shape, {"activation": ""}, origin=origin)
    return _upsampled(graph, inner, ups[0], origin)


def _upsampled(graph: Graph, value: Value, like: Value, origin: str) -> Value:
    if value.shape == like.shape:
        return value
    attrs = {"size": like.shape[1:3], "align": False, "half_pixel": False}
    return graph.emit("RESIZE_NEAREST_NEIGHBOR", [value], like.shape, attrs, origin=origin)


def upsample_by_concatenation(graph: Graph) -> int:
    """Repeat pixels by joining a value with itself.

    RESHAPE costs nothing there, and no delegate has to hand over to the interpreter's own resize.
    """
    changes = 0
    for op in list(graph.ops):
        factors = _factors(op)
        if factors is None or any(_steps(f) is None for f in factors):
            continue
        x = op.inputs[0]
        n, h, w, c = x.shape
        rows = n * h
        value = x
        for step in _steps(factors[1]) or []:
            joined = _repeat(graph, value, step, 3, op)
            w *= step
            value = _reshape(graph, joined, (n, h, w, c), op)
        for step in _steps(factors[0]) or []:
            lines = _reshape(graph, value, (1, rows, 1, w * c), op)
            rows *= step
            value = _reshape(graph, _repeat(graph, lines, step, 2, op), (n, rows // n, w, c), op)
        graph.replace(op.output, value)
        graph.remove(op)
        changes += 1
    return changes


def _steps(factor: int) -> list[int] | None:
    """Split ``factor`` into steps that one CONCATENATION can take; None where it has a larger prime."""
    steps: list[int] = []
    for step in range(MAX_CONCAT_OPERANDS, 1, -1):
        while factor % step == 0:
            steps.append(step)
            factor //= step
    return steps if factor == 1 else None


def _repeat(graph: Graph, value: Value, count: int, axis: int, op: Op) -> Value:
    shape = list(value.shape)
    shape[axis] *= count
    return graph.emit("CONCATENATION", [value] * count, shape, {"axis": axis}, origin=op.origin)


def _reshape(graph: Graph, value: Value, shape: tuple[int, ...], op: Op) -> Value:
    return graph.emit("RESHAPE", [value], shape, {"shape": shape}, origin=op.origin)
