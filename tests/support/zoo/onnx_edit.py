"""Looks around in an ONNX file and changes its weights: what planting trouble needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
# f(s x) = s f(x) per channel for every s > 0.
_HOMOGENEOUS = frozenset(("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"))


class OnnxEdit:
    """An ONNX model in memory.

    Args:
        source: The file; it is only read.
    """

    def __init__(self, source: Path) -> None:
        self.model = onnx.load(source)
        self.graph = self.model.graph
        self._weights = {item.name: item for item in self.graph.initializer}
        self._serial = 0

    def save(self, out: Path) -> Path:
        """Writes the changed model, without the weights that nobody reads any more."""
        used = {name for node in self.graph.node for name in node.input}
        kept = [item for item in self.graph.initializer if item.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        onnx.checker.check_model(self.model, full_check=True)
        onnx.save(self.model, out)
        return out

    def producer(self, tensor: str) -> Any | None:
        """The node that writes a tensor."""
        return next((node for node in self.graph.node if tensor in node.output), None)

    def readers(self, tensor: str) -> list[Any]:
        """The nodes that read a tensor."""
        return [node for node in self.graph.node if tensor in node.input]

    def is_output(self, tensor: str) -> bool:
        """Whether the model shows it outside."""
        return any(item.name == tensor for item in self.graph.output)

    def weight(self, name: str) -> Array:
        """A copy of a constant."""
        return numpy_helper.to_array(self._weights[name]).copy()

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Adds a constant; returns its name."""
        name = self.fresh("weight")
        item = numpy_helper.from_array(np.asarray(values, dtype), name)
        self.graph.initializer.append(item)
        self._weights[name] = item
        return name

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        self._serial += 1
        return f"planted_{stem}_{self._serial}"

    def change(self, node: Any, position: int, edit: Callable[[Array], Array]) -> None:
        """Gives a node its own changed copy of a constant operand; no operand there: nothing to do."""
        if position < len(node.input) and node.input[position]:
            node.input[position] = self.constant(edit(self.weight(node.input[position])))

    def insert(self, tensor: str, operators: list[tuple[str, list[str]]]) -> str:
        """Puts a chain behind a tensor, ``(operator, further operands)`` each; all readers see its end."""
        readers, current, nodes = self.readers(tensor), tensor, []
        for operator, operands in operators:
            output = self.fresh(operator.lower())
            nodes.append(helper.make_node(operator, [current, *operands], [output], name=output))
            current = output
        for reader in readers:
            for position, name in enumerate(reader.input):
                if name == tensor:
                    reader.input[position] = current
        self.place(tensor, nodes)
        return current

    def place(self, tensor: str, nodes: list[Any]) -> None:
        """Puts nodes right behind the one that writes ``tensor``; references to nodes die with it."""
        rows = list(self.graph.node)
        after = next((i + 1 for i, node in enumerate(rows) if tensor in node.output), 0)
        del self.graph.node[:]
        self.graph.node.extend([*rows[:after], *nodes, *rows[after:]])

    def read_by_convolutions(self) -> list[str]:
        """Tensors that only dense or depthwise convolutions read as their signal, in the graph's order."""
        names = [name for node in self.graph.node for name in node.output]
        return [name for name in names if self._only_convolutions(name)]

    def writing_convolution(self, tensor: str) -> Any | None:
        """The convolution that a channel's scale can be moved into; None where something stops it."""
        while True:
            node = self.producer(tensor)
            if node is None or node.op_type in CONVOLUTIONS:
                return node
            if node.op_type not in _HOMOGENEOUS or len(self.readers(node.input[0])) != 1:
                return None
            tensor = node.input[0]
            if self.is_output(tensor):
                return None

    def channels(self, tensor: str) -> int:
        """Channels of a tensor that convolutions read."""
        reader = self.readers(tensor)[0]
        shape = self.weight(reader.input[1]).shape
        return int(shape[0] if reader.op_type == "ConvTranspose" else shape[1] * _group(reader))

    def scale_readers(self, tensor: str, factors: Array) -> None:
        """Multiplies what each reading convolution makes of channel c by ``factors[c]``."""
        for node in self.readers(tensor):
            self.change(node, 1, lambda weights, node=node: _scale_inputs(node, weights, factors))  # type: ignore[misc]

    def scale_writer(self, node: Any, factors: Array) -> None:
        """Multiplies the output channels of a convolution."""
        axis = 1 if node.op_type == "ConvTranspose" else 0
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        self.change(node, 1, lambda weights: weights * factors.reshape(shape))
        self.change(node, 2, lambda bias: bias * factors)

    def _only_convolutions(self, tensor: str) -> bool:
        readers = self.readers(tensor)
        return (
            bool(readers) and not self.is_output(tensor) and all(self._scalable(n, tensor) for n in readers)
        )

    def _scalable(self, node: Any, tensor: str) -> bool:
        if node.op_type not in CONVOLUTIONS or node.input[0] != tensor:
            return False
        weights = self._weights.get(node.input[1])
        if weights is None or len(weights.dims) != 4:
            return False
        dense = _group(node) == 1
        return dense or (node.op_type == "Conv" and weights.dims[1] == 1)


def _group(node: Any) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _scale_inputs(node: Any, weights: Array, factors: Array) -> Array:
    if node.op_type == "ConvTranspose":
        return weights * factors[:, None, None, None]
    if _group(node) == 1:
        return weights * factors[None, :, None, None]
    multiplier = weights.shape[0] // len(factors)
    return weights * np.repeat(factors, multiplier)[:, None, None, None]
