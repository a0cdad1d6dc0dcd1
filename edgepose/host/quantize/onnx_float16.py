"""ONNX in half precision: stored weights only, or the whole computation."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose.errors import ModelError
from edgepose.spec.recipe import QuantizationRecipe

# Smaller tensors are scales, shapes and biases of a handful of values: casting them saves nothing.
_MIN_ELEMENTS = 64
_LARGEST = float(np.finfo(np.float16).max)
_SUFFIX = "_float16"


def store_weights_as_float16(model: Any, recipe: QuantizationRecipe) -> bytes:
    """Stores large float32 weights as float16 and casts them back while loading.

    The runtime folds the casts once, so it computes in float32 exactly as before, on rounded weights.

    Args:
        model: A loaded ``ModelProto``; it is changed.
        recipe: Names what is excluded.

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
    """Turns the whole computation into float16; inputs and outputs stay float32.

    Args:
        model: A loaded ``ModelProto``; it is changed.
        recipe: Names what is excluded.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    excluded = {entry.name for entry in recipe.excluded}
    nodes = [node.name for node in model.graph.node if excluded & {node.name, *node.output}]
    converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=nodes)
    ordered = ONNXModel(converted)
    # The casts at the inputs are appended last, which ONNX forbids.
    ordered.topological_sort()
    return bytes(ordered.model.SerializeToString(deterministic=True))
