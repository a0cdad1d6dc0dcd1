"""ONNX: int8 in QDQ form by our own placement, dynamic quantization by onnxruntime, and float16."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgepose.errors import ConfigError, MissingDependencyError, ModelError
from edgepose.host.models.onnx_view import OnnxGraph, attribute, captured
from edgepose.host.quantize.qdq.writer import Ranges, quantize_with_ranges
from edgepose.records.lineage import QuantizationRecipe

# Smaller tensors are scales, shapes and biases of a handful of values: casting them saves nothing.
_MIN_ELEMENTS = 64
_LARGEST = float(np.finfo(np.float16).max)
_SUFFIX = "_float16"


def store_weights_as_float16(model: Any, recipe: QuantizationRecipe) -> bytes:
    """Stores large float32 weights of a ``ModelProto`` in place as float16 and casts them back while loading.

    The runtime folds the casts once, so it computes in float32 exactly as before, on rounded weights.

    Raises:
        ModelError: A weight does not fit into float16.
    """
    from onnx import TensorProto, helper, numpy_helper

    excluded = {entry.name for entry in recipe.excluded}
    kept_wide = {
        name for node in model.graph.node if excluded & {node.name, *node.output} for name in node.input
    }
    casts = []
    for stored in model.graph.initializer:
        if stored.data_type != TensorProto.FLOAT or stored.name in kept_wide:
            continue
        values = numpy_helper.to_array(stored)
        if values.size < _MIN_ELEMENTS:
            continue
        name = stored.name
        if np.abs(values).max() > _LARGEST:
            raise ModelError(
                f"Weight '{name}' reaches {np.abs(values).max():.3g}, above float16's {_LARGEST:.0f}."
            )
        stored.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + _SUFFIX))
        casts.append(
            helper.make_node(
                "Cast", [name + _SUFFIX], [name], name=f"{name}_to_float32", to=TensorProto.FLOAT
            )
        )
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return bytes(model.SerializeToString(deterministic=True))


def compute_in_float16(model: Any, recipe: QuantizationRecipe) -> bytes:
    """Turns the computation of a ``ModelProto`` in place into float16; inputs and outputs stay float32."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    excluded = {entry.name for entry in recipe.excluded}
    nodes = [node.name for node in model.graph.node if excluded & {node.name, *node.output}]
    converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=nodes)
    ordered = ONNXModel(converted)
    # The casts at the inputs are appended last, which ONNX forbids.
    ordered.topological_sort()
    return bytes(ordered.model.SerializeToString(deterministic=True))


# DequantizeLinear has one scale per channel from this opset on.
_PER_CHANNEL_OPSET = 13


def prepare_onnx(source: Path) -> Any:
    """Reads a float model, fuses batch normalization, folds constants and infers sizes.

    Batch normalization that has no convolution before it becomes a depthwise 1x1 convolution of the same
    result, and subtraction of a constant, division by one and the mean over space become Add, Mul and
    GlobalAveragePool: these have integer kernels everywhere.

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


def quantize_onnx(source: Path, recipe: QuantizationRecipe) -> bytes:
    """Quantizes a float ONNX model without calibration.

    Args:
        source: The float file.
        recipe: ``dynamic`` or ``cast``; a static one goes through ``quantize_onnx_with_ranges``.

    Returns:
        The quantized file. Inputs and outputs keep the parent's names.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        ConfigError: The recipe excludes something that the model does not have.
        ModelError: The model cannot be prepared, or the quantizer cannot handle it.
    """
    require_onnx_tools()
    if recipe.kind == "cast":
        import onnx

        model = onnx.load(source)
        _excluded_nodes(model, recipe)
        if recipe.activation_bits == 16:
            return compute_in_float16(model, recipe)
        return store_weights_as_float16(model, recipe)
    with _library_log_discarded():
        prepared = prepare_onnx(source)
    _excluded_nodes(prepared, recipe)
    return _quantize_dynamic(prepared, recipe, source.name)


def require_onnx_tools() -> None:
    """Checks that the tools for ONNX are there.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            f"{problem.name} is not installed; it is needed to quantize ONNX models.",
            "Run: pip install 'edgepose[convert]'",
        ) from problem


def quantize_onnx_with_ranges(prepared: Any, recipe: QuantizationRecipe, ranges: Ranges) -> bytes:
    """Quantizes a prepared model from ranges that are known already.

    Args:
        prepared: What ``prepare_onnx`` gave, perhaps with other constants; it is not changed.
        recipe: A static recipe.
        ranges: Least and greatest value per float tensor, measured on this very model.

    Returns:
        The quantized file.

    Raises:
        ConfigError: The recipe excludes something that the model does not have, or asks for integer
            inputs and outputs, which a QDQ file does not have.
        ModelError: A range is missing or not finite, or no op at all can compute in integers.
    """
    if recipe.integer_io:
        raise ConfigError(
            f"Recipe '{recipe.name}' asks for integer inputs and outputs; ONNX models keep float ones here.",
            "Use --recipe static_wi8_ai8 or static_wi8_ai8_symmetric.",
        )
    _excluded_nodes(prepared, recipe)
    result = quantize_with_ranges(prepared, recipe, ranges)
    if not result.integer_ops:
        reasons = {op.reason for op in result.float_ops}
        raise ModelError(
            f"Recipe '{recipe.name}' leaves every op in float: {'; '.join(sorted(reasons)[:3])}.",
            "Give a float32 model, or use --recipe float16.",
        )
    return result.model


def _quantize_dynamic(prepared: Any, recipe: QuantizationRecipe, source_name: str) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if recipe.per_channel and any(node.op_type == "Conv" for node in prepared.graph.node):
        raise ModelError(
            f"Recipe '{recipe.name}' asks for one weight scale per channel; onnxruntime's dynamic "
            "convolution has one per tensor and says nothing (measured on TinyPose-256: 0 AP).",
            "Use --recipe static_wi8_ai8 or float16 for ONNX models.",
        )
    with TemporaryDirectory() as folder, _library_log_discarded():
        before, after = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        onnx.save(prepared, before)
        try:
            # onnxruntime's ConvInteger kernel takes unsigned weights only.
            quantize_dynamic(
                before,
                after,
                per_channel=recipe.per_channel,
                weight_type=QuantType.QUInt8,
                nodes_to_exclude=_excluded_nodes(prepared, recipe),
            )
        except (ValueError, RuntimeError, LookupError, NotImplementedError, AttributeError) as problem:
            reason = (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
            raise ModelError(
                f"onnxruntime cannot apply recipe '{recipe.name}' to {source_name}: {reason}."
            ) from problem
        return bytes(onnx.load(after).SerializeToString(deterministic=True))


def _excluded_nodes(model: Any, recipe: QuantizationRecipe) -> list[str]:
    """The names of the nodes that the recipe excludes by their own or by an output tensor's name."""
    nodes = list(model.graph.node)
    names = []
    for excluded in recipe.excluded:
        found = [node.name for node in nodes if excluded.name in {node.name, *node.output}]
        if not found:
            raise ConfigError(
                f"Recipe '{recipe.name}' excludes '{excluded.name}', which is neither a node nor a tensor "
                "that a node writes in this model.",
                "`edgepose quantize --explain` lists the tensor names.",
            )
        names.extend(found)
    return names


@contextlib.contextmanager
def _library_log_discarded() -> Iterator[None]:
    """The quantizer warns through the root logger about steps that were taken already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
