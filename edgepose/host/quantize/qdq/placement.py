"""Decides which nodes compute in integers, which tensors are rounded, and which share one scale.

Rules: an op and the Relu or Clip right behind it are one unit with nothing between them. A unit computes in
integers when its op has an integer kernel and the recipe does not exclude it. Tensors that enter or leave
integer units are rounded. What an op only moves keeps its scale, and what is concatenated shares one, so
that no value is rounded twice on its way through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edgepose.host.models.onnx_view import OnnxGraph, attribute
from edgepose.host.models.operators import (
    FUSED_ACTIVATIONS,
    INTEGER_KERNELS,
    SAME_SCALE,
    WEIGHTED,
    data_positions,
)


@dataclass(frozen=True)
class FloatOp:
    """A node that computes in float, and why; by its first output's name where it has none."""

    name: str
    op: str
    reason: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where QDQ stands.

    Attributes:
        integer: Outputs of all nodes that compute in integers, by first output name.
        rounded: The rounded tensors, in the order in which they are written.
        scale_of: Per rounded tensor and stored operand the one whose scale it has.
        float_ops: The nodes that stay in float.
    """

    integer: frozenset[str]
    rounded: tuple[str, ...]
    scale_of: dict[str, str]
    float_ops: tuple[FloatOp, ...]


def place_qdq(graph: OnnxGraph, excluded: Iterable[str], *, fuse_sums: bool) -> Placement:
    """Decides for a whole graph.

    Args:
        graph: Of a prepared model.
        excluded: Node or output tensor names that stay in float.
        fuse_sums: Whether a convolution flows into the addition behind it unrounded, as TensorRT fuses them
            (its documentation: quantize the residual input only).
    """
    return _Placing(graph, frozenset(excluded), fuse_sums=fuse_sums).run()


class _Placing:
    """One decision after the other about the nodes of a graph."""

    def __init__(self, graph: OnnxGraph, excluded: frozenset[str], *, fuse_sums: bool) -> None:
        self._graph, self._excluded, self._fuse_sums = graph, excluded, fuse_sums
        self._nodes = [n for n in graph.nodes if self._floats(n)]
        self._reasons: dict[str, str] = {}
        self._inner: set[str] = set()
        self._parents: dict[str, str] = {}

    def run(self) -> Placement:
        for node in self._nodes:
            reason = self._reason(node)
            if reason is not None:
                self._reasons[node.output[0]] = reason
        self._keep_units_together()
        self._leave_moves_between_float_ops()
        self._find_inner()
        rounded = self._rounded()
        self._tie_scales(rounded)
        return Placement(
            integer=frozenset(n.output[0] for n in self._nodes if self._is_integer(n)),
            rounded=rounded,
            scale_of={name: self._root(name) for name in self._parents} | {n: self._root(n) for n in rounded},
            float_ops=tuple(
                FloatOp(n.name or n.output[0], n.op_type, self._reasons[n.output[0]], tuple(n.output))
                for n in self._nodes
                if not self._is_integer(n)
            ),
        )

    # --- which nodes ----------------------------------------------------------------------------------

    def _floats(self, node: Any) -> bool:
        """Whether a node works on float values at all."""
        if all(self._graph.is_stored(name) for name in node.output if name):
            return False
        return any(self._is_value(name) for name in (*node.input, *node.output))

    def _is_value(self, name: str) -> bool:
        """Whether a tensor is computed and float."""
        return bool(name) and not self._graph.is_stored(name) and self._graph.is_float32(name)

    def _is_integer(self, node: Any) -> bool:
        return node.output[0] not in self._reasons

    def _reason(self, node: Any) -> str | None:
        """Why a node cannot compute in integers; None where it can."""
        if self._excluded & {node.name, *node.output} - {""}:
            return "the recipe excludes it"
        if node.op_type not in INTEGER_KERNELS or node.domain not in {"", "ai.onnx"}:
            return f"{node.op_type} has no integer kernel"
        data = [node.input[i] for i in data_positions(node.op_type, len(node.input)) if node.input[i]]
        if not all(self._graph.is_float32(name) for name in data):
            return "its inputs are not float32"
        if not any(map(self._is_value, data)):
            return "its inputs are stored"
        return _UNFIT.get(node.op_type, _fits)(self._graph, node)

    def _unit(self, node: Any) -> Any | None:
        """The Relu or Clip that is one unit with a node, or None."""
        if node.op_type in FUSED_ACTIVATIONS or node.op_type in SAME_SCALE or len(node.output) != 1:
            return None
        readers = self._graph.readers[node.output[0]]
        alone = len(readers) == 1 and node.output[0] not in self._graph.outputs
        return readers[0] if alone and readers[0].op_type in FUSED_ACTIVATIONS else None

    def _keep_units_together(self) -> None:
        for node in self._nodes:
            activation = self._unit(node)
            if activation is None:
                continue
            for one, other in ((node, activation), (activation, node)):
                reason = self._reasons.get(one.output[0])
                if reason is not None:
                    known = f"it is one with {one.op_type} '{one.name or one.output[0]}': {reason}"
                    self._reasons.setdefault(other.output[0], known)

    def _leave_moves_between_float_ops(self) -> None:
        """Rounding around a reshape whose neighbours are float would only cost accuracy."""
        kept: set[str] = set()
        before = self._graph.producers
        for forward in (True, False):
            ahead = [n for n in self._nodes if self._is_integer(n) and n.op_type not in SAME_SCALE]
            while ahead:
                node = ahead.pop()
                names = node.output if forward else node.input
                near = (
                    [r for name in names for r in self._graph.readers[name]]
                    if forward
                    else [before[name] for name in names if name in before]
                )
                for other in near:
                    moves = other.op_type in SAME_SCALE and other.output[0] not in kept
                    if moves and self._is_value(other.output[0]) and self._is_integer(other):
                        kept.add(other.output[0])
                        ahead.append(other)
        for node in self._nodes:
            if node.op_type in SAME_SCALE and node.output[0] not in kept:
                self._reasons.setdefault(node.output[0], "it stands between ops that stay in float")

    # --- which tensors --------------------------------------------------------------------------------

    def _find_inner(self) -> None:
        for node in self._nodes:
            if self._is_integer(node) and self._unit(node) is not None:
                self._inner.add(node.output[0])
        if self._fuse_sums:
            self._find_fused_sums()

    def _find_fused_sums(self) -> None:
        for node in self._nodes:
            if node.op_type != "Add" or not self._is_integer(node) or len(set(node.input)) != 2:
                continue
            # The later of two convolutions: its partner is there already when it runs.
            for name in sorted(node.input, key=self._position, reverse=True):
                producer = self._graph.producers.get(name)
                if producer is None or producer.op_type not in {"Conv", "ConvTranspose"}:
                    continue
                alone = len(self._graph.readers[name]) == 1 and name not in self._graph.outputs
                if alone and self._is_integer(producer):
                    self._inner.add(name)
                    break

    def _position(self, name: str) -> int:
        producer = self._graph.producers.get(name)
        return -1 if producer is None else next(i for i, n in enumerate(self._nodes) if n is producer)

    def _rounded(self) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for node in self._nodes:
            if not self._is_integer(node):
                continue
            read = (node.input[i] for i in data_positions(node.op_type, len(node.input)))
            for name in (*read, *(name for name in node.output if not self._leaves_unrounded(name))):
                used = self._graph.readers[name] or name in self._graph.outputs
                if used and self._is_value(name) and name not in self._inner:
                    names[name] = None
        return tuple(names)

    def _leaves_unrounded(self, name: str) -> bool:
        """Whether what a convolution or product writes goes to float nodes or out of the model alone.

        TensorRT's int8 convolutions write float then (its documentation: do not quantize outputs that no
        quantized layer reads). ONNX Runtime's CPU kernels need rounded outputs.
        """
        if not self._fuse_sums:
            return False
        producer = self._graph.producers[name]
        if producer.op_type in FUSED_ACTIVATIONS:
            producer = self._graph.producers.get(producer.input[0], producer)
        return producer.op_type in WEIGHTED and not any(
            self._is_integer(reader) for reader in self._graph.readers[name] if self._floats(reader)
        )

    # --- which scales ---------------------------------------------------------------------------------

    def _tie_scales(self, rounded: tuple[str, ...]) -> None:
        known = set(rounded)
        for node in self._nodes:
            if not self._is_integer(node):
                continue
            data = [node.input[i] for i in data_positions(node.op_type, len(node.input))]
            if node.op_type in SAME_SCALE or node.op_type == "Concat":
                outputs = [name for name in node.output if name in known]
                for name in (*data, *outputs) if outputs else ():
                    self._tie(outputs[0], name)

    def _root(self, name: str) -> str:
        while self._parents.get(name, name) != name:
            name = self._parents[name]
        return name

    def _tie(self, first: str, second: str) -> None:
        a, b = self._root(first), self._root(second)
        self._parents.setdefault(a, a)
        self._parents[b] = a


def _fits(_graph: OnnxGraph, _node: Any) -> str | None:
    return None


def _unfit_convolution(graph: OnnxGraph, node: Any) -> str | None:
    if not graph.is_stored(node.input[1]):
        return "its weights are computed"
    if len(node.input) > 2 and node.input[2] and not graph.is_stored(node.input[2]):
        return "its bias is computed"
    return None


def _unfit_gemm(graph: OnnxGraph, node: Any) -> str | None:
    factors = {float(attribute(node, name, 1.0)) for name in ("alpha", "beta")}
    if factors != {1.0} or attribute(node, "transA", 0):
        return "its factors alpha and beta are not 1, or its input is transposed"
    problem = _unfit_convolution(graph, node)
    if problem is None and len(node.input) > 2 and node.input[2]:
        columns = graph.stored(node.input[1]).shape[0 if attribute(node, "transB", 0) else 1]
        if graph.stored(node.input[2]).size not in {1, columns}:
            return "its bias differs from row to row"
    return problem


def _unfit_resize(_graph: OnnxGraph, node: Any) -> str | None:
    if attribute(node, "mode", "nearest") == "cubic":
        return "cubic interpolation leaves the range of its input"
    return None


def _unfit_pad(graph: OnnxGraph, node: Any) -> str | None:
    value = node.input[2] if len(node.input) > 2 else ""
    if value and (not graph.is_stored(value) or graph.stored(value).any()):
        return "it fills with something other than 0"
    return None


_UNFIT: dict[str, Callable[[OnnxGraph, Any], str | None]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _unfit_convolution),
    "Gemm": _unfit_gemm,
    "Resize": _unfit_resize,
    "Pad": _unfit_pad,
}
