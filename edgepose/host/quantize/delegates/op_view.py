"""A TFLite graph as the rules of a delegate look at it (plain values, no flatbuffer), and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.tflite_view import op_name, tensor_name
from edgepose.records.accelerator import RefusedOp

# Element types of constants that rules look into: axes, paddings, strides, and zero-filled int8 tensors.
_READABLE = {"INT32": np.int32, "INT64": np.int64, "INT8": np.int8, "UINT8": np.uint8}


@dataclass(frozen=True)
class TensorView:
    """A tensor.

    Attributes:
        index: Its place in the graph, by which ops are linked.
        name: Its name.
        shape: Its shape as stored.
        dtype: Name of the element type in the schema, for example ``INT8``.
        constant: Whether the file holds its values.
        values: The values of an integer constant, or None.
        open_size: Whether the file leaves a size open.
        zero_points: Zero points of its quantization; empty without one.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool = False
    values: NDArray[Any] | None = None
    open_size: bool = False
    zero_points: tuple[int, ...] = ()


@dataclass(frozen=True)
class OpView:
    """An op; an optional input that is absent is None, options go by the schema's names."""

    name: str
    inputs: tuple[TensorView | None, ...]
    outputs: tuple[TensorView, ...]
    options: dict[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def runtime_inputs(self) -> tuple[TensorView, ...]:
        """The inputs that are computed, not stored."""
        return tuple(tensor for tensor in self.inputs if tensor is not None and not tensor.constant)

    @property
    def constant_inputs(self) -> tuple[TensorView, ...]:
        """The inputs that are stored."""
        return tuple(tensor for tensor in self.inputs if tensor is not None and tensor.constant)

    def input(self, position: int) -> TensorView | None:
        """The input at a position, or None where there is none."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def label(self) -> str:
        """Name of the first output, which names the op in reports."""
        return self.outputs[0].name if self.outputs else ""


@dataclass(frozen=True)
class GraphView:
    """A graph: its ops in the order of execution."""

    ops: tuple[OpView, ...]

    @cached_property
    def producers(self) -> dict[int, int]:
        """Index of a tensor to position of the op that writes it."""
        return {tensor.index: place for place, op in enumerate(self.ops) for tensor in op.outputs}


def view_graph(graph: Any) -> GraphView:
    """Views the main subgraph of an unpacked TFLite file (``read_tflite``)."""
    subgraph = graph.subgraphs[0]
    tensors = [_view_tensor(graph, index, tensor) for index, tensor in enumerate(subgraph.tensors)]
    return GraphView(tuple(_view_op(graph, op, tensors) for op in subgraph.operators))


def _view_op(graph: Any, op: Any, tensors: list[TensorView]) -> OpView:
    return OpView(
        name=op_name(graph, op),
        inputs=tuple(tensors[index] if index >= 0 else None for index in op.inputs),
        outputs=tuple(tensors[index] for index in op.outputs),
        options=dict(vars(op.builtinOptions)) if op.builtinOptions is not None else {},
        version=int(graph.operatorCodes[op.opcodeIndex].version),
    )


def _view_tensor(graph: Any, index: int, tensor: Any) -> TensorView:
    data = graph.buffers[tensor.buffer].data
    constant = data is not None and len(data) > 0
    dtype = _type_names()[tensor.type]
    readable = _READABLE.get(dtype) if constant else None
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    signature = () if tensor.shapeSignature is None else tuple(int(size) for size in tensor.shapeSignature)
    zeros = None if tensor.quantization is None else tensor.quantization.zeroPoint
    return TensorView(
        index=index,
        name=tensor_name(tensor),
        shape=shape,
        dtype=dtype,
        constant=constant,
        values=None if readable is None else np.frombuffer(bytes(data), readable),
        open_size=any(size < 0 for size in (*shape, *signature)),
        zero_points=() if zeros is None else tuple(int(zero) for zero in zeros),
    )


def _type_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import TensorType

    return {value: name for name, value in vars(TensorType).items() if isinstance(value, int)}


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
