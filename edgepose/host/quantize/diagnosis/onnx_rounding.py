"""Puts QuantizeLinear and DequantizeLinear behind tensors of a float ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.qdq.scales import Scale
from edgepose.host.quantize.repair.network import Network
from edgepose.host.quantize.repair.onnx_network import read_network as read_onnx_network


class OnnxModel:
    """A float ONNX model.

    Args:
        model: The file's bytes; sizes that it does not say are inferred.
    """

    def __init__(self, model: bytes) -> None:
        import onnx

        self._model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model))
        graph = self._model.graph
        self._names = {name for node in graph.node for name in node.output} | {e.name for e in graph.input}

    @cached_property
    def network(self) -> Network:
        """What the model computes, step by step."""
        return read_onnx_network(self._model)

    def changed(self, rounded: Mapping[str, Scale], constants: Mapping[str, NDArray[np.float32]]) -> bytes:
        """The file with tensors rounded and constants replaced.

        Raises:
            ValueError: The model has no such tensor.
        """
        model = type(self._model)()
        model.CopyFrom(self._model)
        stored = dict(_stored(model.graph))
        for name in (*rounded, *constants):
            if name not in self._names and name not in stored:
                raise ValueError(f"the model has no tensor '{name}'")
        for name, values in constants.items():
            _replace(stored[name], values)
        for name, scale in rounded.items():
            _round(model.graph, name, scale)
        return bytes(model.SerializeToString(deterministic=True))


def _stored(graph: Any) -> Iterator[tuple[str, Any]]:
    for entry in graph.initializer:
        yield entry.name, entry
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                yield node.output[0], attribute.t


def _replace(entry: Any, values: NDArray[np.float32]) -> None:
    from onnx import numpy_helper

    shaped = np.ascontiguousarray(values, np.float32).reshape(tuple(entry.dims))
    entry.CopyFrom(numpy_helper.from_array(shaped, entry.name))


def _round(graph: Any, name: str, scale: Scale) -> None:
    """The writer writes a twin, which comes back rounded under the old name; an input's readers are moved."""
    from onnx import helper, numpy_helper

    twin, steps = f"{name}/float", f"{name}/steps"
    parameters = [f"{name}/scale", f"{name}/zero_point"]
    for parameter, values in zip(parameters, (scale.scale, scale.zero_point), strict=True):
        graph.initializer.append(numpy_helper.from_array(values, parameter))
    place = next((i for i, node in enumerate(graph.node) if name in node.output), None)
    if place is None:
        for node in graph.node:
            _rename(node.input, name, twin)
        exact, seen, after = name, twin, 0
    else:
        _rename(graph.node[place].output, name, twin)
        exact, seen, after = twin, name, place + 1
    graph.node.insert(after, helper.make_node("DequantizeLinear", [steps, *parameters], [seen], steps))
    graph.node.insert(after, helper.make_node("QuantizeLinear", [exact, *parameters], [steps], exact))


def _rename(names: Any, before: str, after: str) -> None:
    for position, name in enumerate(names):
        if name == before:
            names[position] = after
