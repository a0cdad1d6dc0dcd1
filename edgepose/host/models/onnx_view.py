"""Reading an ONNX graph: stored values, types, sizes, attributes, who writes and who reads a tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OnnxGraph:
    """One view of a model's main graph; it does not follow later changes.

    Args:
        model: A ``ModelProto`` whose sizes are inferred.
    """

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto, numpy_helper

        graph = model.graph
        self.nodes: list[Any] = list(graph.node)
        self._float = TensorProto.FLOAT
        self._to_array = numpy_helper.to_array
        self._stored: dict[str, Any] = {entry.name: entry for entry in graph.initializer}
        self._stored |= {
            node.output[0]: attribute.t
            for node in self.nodes
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        self.inputs = tuple(entry.name for entry in graph.input if entry.name not in self._stored)
        self.outputs = tuple(entry.name for entry in graph.output)
        entries = (*graph.value_info, *graph.input, *graph.output)
        self._types = {entry.name: entry.type.tensor_type for entry in entries}
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in (*node.input, *captured(node)):
                if name:
                    self.readers[name].append(node)

    def is_stored(self, name: str) -> bool:
        """Whether a tensor's values are in the file."""
        return name in self._stored

    def stored(self, name: str) -> NDArray[Any]:
        """A stored tensor's values."""
        return np.asarray(self._to_array(self._stored[name]))

    def is_float32(self, name: str) -> bool:
        """Whether a tensor, stored or computed, is known to be float32."""
        entry = self._stored.get(name)
        if entry is not None:
            return bool(entry.data_type == self._float)
        known = self._types.get(name)
        return known is not None and known.elem_type == self._float

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A computed tensor's sizes; None where one is open or unknown."""
        known = self._types.get(name)
        if known is None or not known.HasField("shape"):
            return None
        sizes = tuple(int(size.dim_value) for size in known.shape.dim)
        fixed = all(size.HasField("dim_value") for size in known.shape.dim)
        return sizes if fixed else None

    def computed_inputs(self, node: Any) -> tuple[str, ...]:
        """The inputs of a node that are not stored, also those of its branches and loop bodies."""
        return tuple(name for name in (*node.input, *captured(node)) if name and name not in self._stored)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's value, or ``default`` where it is not given."""
    from onnx import helper

    for entry in node.attribute:
        if entry.name == name:
            value = helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def captured(node: Any) -> Iterator[str]:
    """Names that a node's branches and loop bodies read; some may be their own."""
    for entry in node.attribute:
        for graph in (entry.g, *entry.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from captured(inner)
