"""A pass, its contract, and the runner that checks both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepose.errors import ModelError
from edgepose.host.convert.direct.graph_ir import Graph
from edgepose.host.convert.direct.operator_table import SPELLINGS
from edgepose.host.convert.direct.shape_rules import check_well_formed

Property = Callable[[Graph], str]


def _transposes_cancelled(graph: Graph) -> str:
    for op in graph.ops:
        producer = op.inputs[0].producer if op.kind == "TRANSPOSE" else None
        if producer is not None and producer.kind == "TRANSPOSE":
            return f"two TRANSPOSE follow each other at {op.origin}"
    return ""


def _nothing_dead(graph: Graph) -> str:
    for op in graph.ops:
        if not any(out.users or graph.is_output(out) for out in op.outputs):
            return f"nobody reads {op.kind} ({op.origin})"
    return ""


def _spelled(graph: Graph) -> str:
    for op in graph.ops:
        if op.kind not in SPELLINGS:
            return f"{op.kind} ({op.origin}) is no TensorFlow Lite operator"
    return ""


def _activations_apart(graph: Graph) -> str:
    for op in graph.ops:
        if op.attrs.get("activation"):
            return f"{op.kind} ({op.origin}) has a fused {op.attrs['activation']}"
    return ""


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
        name: What it does.
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
        problem = PROPERTIES[name](graph)
        if problem:
            raise ModelError(f"The pass {item.name} {verb} {name}, but {problem}.")
