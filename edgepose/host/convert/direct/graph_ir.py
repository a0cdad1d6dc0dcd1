"""The graph that the direct route works on: TensorFlow Lite operators over named values.

There is one representation only. Importing an ONNX node emits operators with TensorFlow Lite's meaning
(convolutions read NHWC) and explicit TRANSPOSE operators round them, so that the graph means the same
as the ONNX file from its first moment; every pass afterwards is a local rewrite that keeps the meaning.
Small constant operands (shapes, permutations, paddings) are attributes here; the writer turns them into
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError

Shape = tuple[int, ...]


class UnsupportedByDirectRoute(ModelError):  # noqa: N818  (the name says what to do: take the other route)
    """The ONNX graph holds something that the direct route cannot convert exactly."""


@dataclass(eq=False)
class Value:
    """One tensor: a constant, a graph input or the output of one operator.

    Attributes:
        name: Unique when written; the writer adds a suffix where two values share a name.
        data: The constant's elements, or None.
        producer: The operator that writes it, or None.
        users: The operators that read it, once per operand position.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    data: NDArray[Any] | None = None
    producer: Op | None = None
    users: list[Op] = field(default_factory=list)


@dataclass(eq=False)
class Op:
    """One operator.

    Attributes:
        kind: A TensorFlow Lite builtin operator's name, for example ``CONV_2D``.
        inputs: Operands in TensorFlow Lite's order, without those that are attributes here.
        attrs: Options and small constant operands (``shape``, ``perm``, ``pads``, ``axes`` ...).
        origin: The ONNX node it came from, for messages.
    """

    kind: str
    inputs: list[Value]
    outputs: list[Value]
    attrs: dict[str, Any]
    origin: str

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]


class Graph:
    """Operators, inputs and outputs, with producer and user links that are always up to date."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.ops: list[Op] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.output_names: list[str] = []
        self.inputs_as_in_onnx: set[str] = set()
        self._serial = 0

    def constant(self, data: NDArray[Any], name: str = "") -> Value:
        """Return a new constant value."""
        array = np.ascontiguousarray(data).reshape(data.shape)
        return Value(name or self.fresh("const"), tuple(array.shape), array.dtype, array)

    def fresh(self, stem: str) -> str:
        """Return a name that no earlier call returned."""
        self._serial += 1
        return f"{stem}__{self._serial}"

    def emit(  # noqa: PLR0913  (an operator is these things)
        self,
        kind: str,
        inputs: Sequence[Value],
        shape: Sequence[int],
        attrs: dict[str, Any] | None = None,
        *,
        name: str = "",
        origin: str = "",
        dtype: Any = None,
    ) -> Value:
        """Append an operator and return its one output: by default with a fresh name and the first dtype."""
        found = np.dtype(dtype) if dtype is not None else inputs[0].dtype
        out = Value(name or self.fresh(kind.lower()), tuple(int(d) for d in shape), found)
        self.add(Op(kind, list(inputs), [out], dict(attrs or {}), origin))
        return out

    def add(self, op: Op) -> None:
        """Append ``op`` and link it."""
        for value in op.inputs:
            value.users.append(op)
        for out in op.outputs:
            out.producer = op
        self.ops.append(op)

    def remove(self, op: Op) -> None:
        """Unlink ``op`` and drop it. Its outputs must have no users left."""
        for value in op.inputs:
            value.users.remove(op)
        for out in op.outputs:
            out.producer = None
        self.ops.remove(op)

    def set_input(self, op: Op, position: int, value: Value) -> None:
        """Make operand ``position`` of ``op`` read ``value``."""
        op.inputs[position].users.remove(op)
        op.inputs[position] = value
        value.users.append(op)

    def set_inputs(self, op: Op, values: Sequence[Value]) -> None:
        """Replace all operands of ``op``."""
        for value in op.inputs:
            value.users.remove(op)
        op.inputs = list(values)
        for value in values:
            value.users.append(op)

    def replace(self, old: Value, new: Value) -> None:
        """Make every reader of ``old``, the graph's outputs included, read ``new``."""
        if old is new:
            return
        for op in list(old.users):
            for position, value in enumerate(op.inputs):
                if value is old:
                    self.set_input(op, position, new)
        self.outputs = [new if value is old else value for value in self.outputs]

    def only_user(self, value: Value) -> Op | None:
        """Return the one operator that reads ``value``, or None when others or the outside read it too."""
        if len(value.users) != 1 or self.is_output(value):
            return None
        return value.users[0]

    def is_output(self, value: Value) -> bool:
        """Whether ``value`` is an output of the graph."""
        return any(out is value for out in self.outputs)

    def remove_dead(self) -> int:
        """Drop every operator whose results no one reads; return how many."""
        before = len(self.ops)
        live: set[int] = set()
        stack = list(self.outputs)
        while stack:
            op = stack.pop().producer
            if op is not None and id(op) not in live:
                live.add(id(op))
                stack.extend(op.inputs)
        for op in [op for op in self.ops if id(op) not in live]:
            for value in op.inputs:
                value.users.remove(op)
        self.ops = [op for op in self.ops if id(op) in live]
        return before - len(self.ops)

    def sort(self) -> None:
        """Order the operators so that each stands behind its producers, else as they were.

        Raises:
            ModelError: If the graph has a cycle.
        """
        done: set[int] = set()
        ordered: list[Op] = []
        for root in self.ops:
            stack: list[tuple[Op, bool]] = [(root, False)]
            while stack:
                op, ready = stack.pop()
                if id(op) in done:
                    continue
                if ready:
                    done.add(id(op))
                    ordered.append(op)
                    continue
                if len(stack) > len(self.ops) * 8:
                    raise ModelError(f"The graph {self.name} has a cycle near {op.kind} ({op.origin}).")
                stack.append((op, True))
                stack.extend(
                    (value.producer, False)
                    for value in reversed(op.inputs)
                    if value.producer is not None and id(value.producer) not in done
                )
        self.ops = ordered
