"""What the rules of a delegate say about one op."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.spec.delegate_report import RefusedOp


@dataclass(frozen=True)
class OpVerdict:
    """The verdict on one op.

    Attributes:
        op: Kind of op.
        tensor: Its first output.
        reason: Why the rules refuse it; None where they take it.
        behind_refused: Whether the op itself is fine and lies behind one that is refused.
    """

    op: str
    tensor: str
    reason: str | None
    behind_refused: bool = False

    @property
    def taken(self) -> bool:
        """Whether the delegate is predicted to run it."""
        return self.reason is None and not self.behind_refused


def refused_ops(verdicts: tuple[OpVerdict, ...]) -> tuple[RefusedOp, ...]:
    """The ops with a reason of their own, in the graph's order."""
    return tuple(RefusedOp(op=v.op, tensor=v.tensor, reason=v.reason) for v in verdicts if v.reason)


def count_on_cpu(verdicts: tuple[OpVerdict, ...]) -> int:
    """How many ops are predicted to stay on the CPU."""
    return sum(not verdict.taken for verdict in verdicts)
