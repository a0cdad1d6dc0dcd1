"""What the quantizer must know and change in a TFLite file: signature, exclusions, output names."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose.errors import ConfigError, ModelError
from edgepose.records.lineage import QuantizationRecipe

# What the inner, integer tensor of a renamed output is called.
INTEGER_OUTPUT_SUFFIX = "_quantized"
FLOAT16_LARGEST = float(np.finfo(np.float16).max)


def read_tflite(model: bytes | memoryview) -> Any:
    """Unpacks a TFLite file into the schema's ``ModelT`` object."""
    from ai_edge_litert.tools import flatbuffer_utils

    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    for buffer in graph.buffers:
        # Buffers behind the flatbuffer come as bytes, which would be packed again one by one.
        if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    return graph


def tensor_name(tensor: Any) -> str:
    """Name of a ``TensorT``."""
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name or "")


def op_name(graph: Any, op: Any) -> str:
    """Name of an op, for example ``CONV_2D``; a custom op goes by its own name."""
    from ai_edge_litert.tools import flatbuffer_utils

    code = graph.operatorCodes[op.opcodeIndex]
    if code.customCode:
        return code.customCode.decode() if isinstance(code.customCode, bytes) else str(code.customCode)
    return str(flatbuffer_utils.opcode_to_name(graph, op.opcodeIndex))


def first_signature(graph: Any) -> tuple[str, str]:
    """Returns a signature's key and the name of its one input.

    Raises:
        ModelError: The model has no signature, without which it cannot be calibrated.
    """
    for signature in graph.signatureDefs or ():
        if len(signature.inputs) == 1:
            return signature.signatureKey.decode(), signature.inputs[0].name.decode()
    raise ModelError(
        "The TFLite model has no signature with one input, so ai-edge-quantizer cannot feed it.",
        "Run: edgepose convert MODEL --to tflite -o OUT, which adds one.",
    )


def refuse_unknown_exclusions(graph: Any, recipe: QuantizationRecipe) -> None:
    """Checks that everything the recipe excludes is there: a typing mistake must not be silent.

    Raises:
        ConfigError: An excluded name is no op's output tensor.
    """
    outputs = {
        tensor_name(subgraph.tensors[index])
        for subgraph in graph.subgraphs
        for op in subgraph.operators
        for index in op.outputs
    }
    missing = [excluded.name for excluded in recipe.excluded if excluded.name not in outputs]
    if missing:
        raise ConfigError(
            f"Recipe '{recipe.name}' excludes '{missing[0]}', which is no op's output tensor in this model.",
            "`edgepose quantize --explain` lists the tensor names.",
        )


def refuse_weights_beyond_float16(graph: Any) -> None:
    """Checks that stored values fit before they are rounded: infinity would be the result.

    Raises:
        ModelError: A weight is too large.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    for subgraph in graph.subgraphs:
        for tensor in subgraph.tensors:
            data = graph.buffers[tensor.buffer].data
            if tensor.type != TensorType.FLOAT32 or data is None or len(data) == 0:
                continue
            largest = float(np.abs(np.frombuffer(data.tobytes(), np.float32)).max())
            if largest > FLOAT16_LARGEST:
                raise ModelError(
                    f"Weight '{tensor_name(tensor)}' reaches {largest:.3g}, above float16's "
                    f"{FLOAT16_LARGEST:.0f}."
                )


def with_parent_output_names(parent: Any, model: bytes) -> bytes:
    """Gives a quantized file's outputs the names they had in its float parent, in one plain flatbuffer.

    ai-edge-quantizer appends a suffix to an output that it dequantizes, and a spec names outputs; and it
    puts the weights behind the flatbuffer, where fewer tools find them.

    Raises:
        ModelError: The quantized file has another number of outputs.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    graph = read_tflite(model)
    before, after = parent.subgraphs[0], graph.subgraphs[0]
    if len(before.outputs) != len(after.outputs):
        raise ModelError(f"The float model has {len(before.outputs)} outputs, got {len(after.outputs)}.")
    wanted = [tensor_name(before.tensors[index]) for index in before.outputs]
    found = [tensor_name(after.tensors[index]) for index in after.outputs]
    for tensor in after.tensors:
        if wanted != found and tensor_name(tensor) in wanted:
            tensor.name = (tensor_name(tensor) + INTEGER_OUTPUT_SUFFIX).encode()
    for index, name in zip(after.outputs, wanted, strict=True):
        after.tensors[index].name = name.encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
