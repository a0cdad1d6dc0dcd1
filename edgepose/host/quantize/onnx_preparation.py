"""Brings a float ONNX model into the form that quantization starts from."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgepose.errors import ModelError
from edgepose.host.quantize.onnx_graph import OnnxGraph, attribute, captured

# DequantizeLinear has one scale per channel from this opset on.
_PER_CHANNEL_OPSET = 13


def prepare_onnx(source: Path) -> Any:
    """Reads a float model, fuses batch normalization, folds constants and infers sizes.

    Batch normalization that has no convolution before it becomes a depthwise 1x1 convolution of the same
    result, and subtraction of a constant, division by one and the mean over space become Add, Mul and
    GlobalAveragePool: these have integer kernels everywhere.

    Args:
        source: The float file; it is not touched.

    Returns:
        A ``ModelProto`` of opset 13 or later with the source's inputs, outputs and metadata.

    Raises:
        ModelError: The file cannot be read as a float32 ONNX model.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        with TemporaryDirectory() as folder:
            upgraded, prepared = Path(folder) / "upgraded.onnx", Path(folder) / "prepared.onnx"
            model = onnx.load(source)
            opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
            if opset < _PER_CHANNEL_OPSET:
                model = onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET)
            onnx.save(model, upgraded)
            # Symbolic inference is for dynamic sizes; edgepose fixes every size.
            quant_pre_process(upgraded, prepared, skip_symbolic_shape=True)
            model = onnx.load(prepared)
    except (ValueError, RuntimeError, LookupError, NotImplementedError, AttributeError) as problem:
        reason = (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
        raise ModelError(f"{source.name} cannot be prepared for quantization: {reason}.") from problem
    _normalization_to_convolution(model)
    _to_ops_with_integer_kernels(model)
    _drop_tool_traces(model)
    return model


def _normalization_to_convolution(model: Any) -> None:
    from onnx import helper, numpy_helper

    graph, changed = OnnxGraph(model), False
    for node in model.graph.node:
        parameters = list(node.input[1:5])
        shape = graph.shape(node.input[0]) if node.op_type == "BatchNormalization" else None
        if shape is None or len(shape) != 4 or not all(graph.is_stored(name) for name in parameters):
            continue
        scale, shift, mean, variance = (graph.stored(name).astype(np.float64) for name in parameters)
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        arrays = {
            f"{node.output[0]}/factor": factor.reshape(-1, 1, 1, 1),
            f"{node.output[0]}/shift": shift - mean * factor,
        }
        model.graph.initializer.extend(
            numpy_helper.from_array(values.astype(np.float32), name) for name, values in arrays.items()
        )
        name, ends = node.name, (node.input[0], node.output[0])
        node.CopyFrom(helper.make_node("Conv", [ends[0], *arrays], [ends[1]], name, group=shape[1]))
        changed = True
    if changed:
        _drop_unused_constants(model)


def _to_ops_with_integer_kernels(model: Any) -> None:
    graph, twins = OnnxGraph(model), []
    for node in model.graph.node:
        if (
            node.op_type in {"Sub", "Div"}
            and graph.is_stored(node.input[1])
            and graph.is_float32(node.input[1])
        ):
            twins += _with_inverse_constant(graph, node)
        elif node.op_type == "ReduceMean" and _averages_space(graph, node):
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    model.graph.initializer.extend(twins)
    _drop_unused_constants(model)


def _with_inverse_constant(graph: OnnxGraph, node: Any) -> list[Any]:
    from onnx import numpy_helper

    values = graph.stored(node.input[1])
    if node.op_type == "Div" and not values.all():
        return []
    node.op_type, values = ("Add", -values) if node.op_type == "Sub" else ("Mul", 1.0 / values)
    node.input[1] = f"{node.output[0]}/inverse"
    return [numpy_helper.from_array(np.asarray(values, np.float32), node.input[1])]


def _averages_space(graph: OnnxGraph, node: Any) -> bool:
    stored = len(node.input) > 1 and graph.is_stored(node.input[1])
    axes = graph.stored(node.input[1]).reshape(-1) if stored else attribute(node, "axes", ())
    is_map = len(graph.shape(node.input[0]) or ()) == 4 and {int(axis) % 4 for axis in axes} == {2, 3}
    return is_map and bool(attribute(node, "keepdims", 1))


def _drop_unused_constants(model: Any) -> None:
    used = {name for node in model.graph.node for name in (*node.input, *captured(node))}
    used |= {entry.name for entry in model.graph.output}
    kept = [entry for entry in model.graph.initializer if entry.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _drop_tool_traces(model: Any) -> None:
    """The tools declare all the domains that they know and leave notes, which say nothing of the model."""
    notes = [entry for entry in model.metadata_props if entry.key != "onnx.infer"]
    del model.metadata_props[:]
    model.metadata_props.extend(notes)
    used = {"" if node.domain == "ai.onnx" else node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
