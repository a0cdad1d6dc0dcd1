"""Which ops end up on the Edge TPU: the compiler makes one part of the graph, and it does not come back.

Source: "TensorFlow models on the Edge TPU", coral.ai/docs/edgetpu/models-intro, section "Compiling": at the
first op that is not supported the graph is cut in two, the part before it runs on the Edge TPU, and
everything behind it on the CPU, ops that are supported among them.

Measured on MoveNet's compiled file: "behind" goes by the flow of the data, not by the order in the file (a
branch that does not depend on the refused op stays on the Edge TPU), and a conversion of the input (CAST or
QUANTIZE of what is not 8-bit) runs on the CPU without ending the part.
"""

from __future__ import annotations

from edgepose.host.quantize.delegates.edgetpu_rules import edgetpu_reason
from edgepose.host.quantize.delegates.op_view import GraphView, OpView
from edgepose.host.quantize.delegates.verdict import OpVerdict

_INPUT_CONVERSIONS = frozenset({"CAST", "QUANTIZE"})


def edgetpu_verdicts(graph: GraphView) -> tuple[OpVerdict, ...]:
    """Judges every op of a graph; pure.

    Returns:
        One verdict an op, in the graph's order. It predicts what the compiler does and claims nothing.
    """
    verdicts: list[OpVerdict] = []
    # Places of the ops that convert the input on the CPU, and of those that end the Edge TPU's part.
    conversions: set[int] = set()
    ends: set[int] = set()
    for place, op in enumerate(graph.ops):
        before = {graph.producers[t.index] for t in op.runtime_inputs if t.index in graph.producers}
        reason, behind = edgetpu_reason(op), bool(before & ends)
        if reason and op.name in _INPUT_CONVERSIONS and before <= conversions:
            conversions.add(place)
        elif reason or behind:
            ends.add(place)
        verdicts.append(_verdict(op, reason, behind=behind))
    return tuple(verdicts)


def _verdict(op: OpView, reason: str | None, *, behind: bool) -> OpVerdict:
    return OpVerdict(op.name, op.label, reason, behind_refused=behind and reason is None)
