"""Keeps the pixels of an ONNX model on the int8 grid; why and how: :mod:`.exact_input`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.onnx_view import OnnxGraph, attribute
from edgepose.host.quantize.repair.exact_input import (
    ExactInput,
    grid_range,
    lies_on_grid,
    pixel_range,
    zero_level_of,
)
from edgepose.records.model_spec import InputSpec


def put_pixels_on_grid(model: Any, spec: InputSpec, *, symmetric: bool = False) -> ExactInput | None:
    """Rewrites the front of a prepared ``ModelProto`` in place; arguments and result as for TFLite."""
    graph = OnnxGraph(model)
    name = graph.inputs[0]
    if lies_on_grid(spec) and not symmetric:
        return ExactInput({name: pixel_range(spec)}, ())
    readers = graph.readers[name]
    if len(readers) != 1 or not _is_plain_convolution(graph, readers[0]):
        return None
    mean, std = np.array(spec.mean), np.array(spec.std)
    zero_level = zero_level_of(spec, symmetric=symmetric)
    offset = mean - zero_level
    convolution, position = readers[0], graph.nodes.index(readers[0])
    front = _front_nodes(model, name, convolution, (std, offset))
    _fold(model, graph, convolution, (std, offset))
    convolution.input[0] = "pixels"
    nodes = [*graph.nodes[:position], *front, *graph.nodes[position:]]
    copies = [_copied(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    _declare(model, graph, name)
    held = tuple(node.output[0] for node in front)
    return ExactInput({"pixels": grid_range(zero_level, symmetric=symmetric)}, held)


def _is_plain_convolution(graph: OnnxGraph, node: Any) -> bool:
    if node.op_type != "Conv" or len(node.input) != 3 or not all(map(graph.is_stored, node.input[1:])):
        return False
    explicit = attribute(node, "auto_pad", "NOTSET") in {"NOTSET", "VALID"}
    of_colours = graph.stored(node.input[1]).ndim == 4 and graph.stored(node.input[1]).shape[1] == 3
    return bool(explicit and of_colours and attribute(node, "group", 1) == 1)


def _front_nodes(
    model: Any, name: str, convolution: Any, affine: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> list[Any]:
    from onnx import helper, numpy_helper

    def store(suffix: str, values: NDArray[Any]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(values, f"pixels/{suffix}"))
        return f"pixels/{suffix}"

    nodes, source = [], name
    pads = list(attribute(convolution, "pads", [0, 0, 0, 0]))
    if any(pads):
        widths = np.array([0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]], np.int64)
        nodes.append(
            helper.make_node("Pad", [source, store("paddings", widths)], ["pixels/padded"], "pixels/Pad")
        )
        source = "pixels/padded"
        kept = [entry for entry in convolution.attribute if entry.name != "pads"]
        del convolution.attribute[:]
        convolution.attribute.extend(kept)
    factor, offset = (values.astype(np.float32).reshape(1, 3, 1, 1) for values in affine)
    scaled = helper.make_node("Mul", [source, store("std", factor)], ["pixels/scaled"], "pixels/Mul")
    shifted = helper.make_node("Add", ["pixels/scaled", store("mean", offset)], ["pixels"], "pixels/Add")
    return [*nodes, scaled, shifted]


def _fold(
    model: Any, graph: OnnxGraph, convolution: Any, affine: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    from onnx import numpy_helper

    factor, offset = (values.reshape(1, 3, 1, 1) for values in affine)
    weights = graph.stored(convolution.input[1]).astype(np.float64) / factor
    bias = graph.stored(convolution.input[2]).astype(np.float64) - (weights * offset).sum(axis=(1, 2, 3))
    for index, values in ((1, weights), (2, bias)):
        name = f"{convolution.input[index]}/pixels"
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        convolution.input[index] = name


def _copied(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _declare(model: Any, graph: OnnxGraph, name: str) -> None:
    """Types and sizes of the new tensors."""
    from onnx import TensorProto, helper

    shape = list(graph.shape(name) or ())
    padded = [entry for entry in model.graph.initializer if entry.name == "pixels/paddings"]
    if padded:
        from onnx import numpy_helper

        widths = numpy_helper.to_array(padded[0])
        shape = [int(size + widths[i] + widths[i + 4]) for i, size in enumerate(shape)]
    names = ("pixels/padded", "pixels/scaled", "pixels") if padded else ("pixels/scaled", "pixels")
    model.graph.value_info.extend(
        helper.make_tensor_value_info(entry, TensorProto.FLOAT, shape) for entry in names
    )
