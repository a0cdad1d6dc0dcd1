"""The view of a TFLite file: the schema's unpacked ``ModelT``; what is read from it, and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import flatbuffers
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


@lru_cache(maxsize=1)
def _type_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import TensorType

    return {value: name.lower() for name, value in vars(TensorType).items() if not name.startswith("_")}


def type_name(tensor_type: int) -> str:
    """Numpy's spelling of a TFLite element type."""
    return _type_names()[tensor_type]


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


def signature_of(inputs: Iterable[tuple[str, int]], outputs: Iterable[tuple[str, int]]) -> Any:
    """The signature that runtimes and quantizers ask for, of names and tensor indices."""
    from ai_edge_litert import schema_py_generated as schema

    def entry(name: str, index: int) -> Any:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name.encode(), int(index)
        return made

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [entry(*named) for named in inputs]
    signature.outputs = [entry(*named) for named in outputs]
    return signature


# schema.fbs: Buffer.data has force_align 16.
_BUFFER_ALIGNMENT = 16


def with_tflite_entries(data: bytes | memoryview, entries: dict[str, str], name: str) -> bytes:
    """The bytes of a TFLite file with entries added or replaced.

    Raises:
        ModelError: The bytes are damaged, or too large for one flatbuffer.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        graph = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError) as problem:
        raise ModelError(f"{name} is a TFLite model that is truncated or damaged.") from problem
    if any(buffer.offset for buffer in graph.buffers):
        raise ModelError(f"{name} keeps weights outside its flatbuffer (over 2 GB), which is not supported.")
    graph.metadata = list(graph.metadata or [])
    for key, text in entries.items():
        _buffer_for(graph, key).data = np.frombuffer(text.encode(), np.uint8)
    builder = CompactBuilder(len(data) + 4096)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class CompactBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns buffers, and writes equal scales and zero points once.

    The schema's ``force_align`` asks byte vectors to start at multiples of 16; the generated Python code
    ignores that, and kernels may read constants with aligned loads. Zero points take 8 bytes a channel and
    are nearly always 0: in int8 TinyPose-256 they were a seventh of the file. A flatbuffer's tables may share
    a vector; readers see no difference.
    """

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], Any] = {}

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: D102, N802, N803
        wanted = _BUFFER_ALIGNMENT if elemSize == 1 else alignment
        return super().StartVector(elemSize, numElems, wanted)

    def CreateNumpyVector(self, x: Any) -> Any:  # noqa: D102, N802
        if x.dtype.itemsize == 1:
            return super().CreateNumpyVector(x)
        identity = x.dtype.str, x.tobytes()
        if identity not in self._written:
            self._written[identity] = super().CreateNumpyVector(x)
        return self._written[identity]


def _buffer_for(graph: Any, key: str) -> Any:
    """The buffer that only this entry uses; a new one where the file shares it or has none."""
    from ai_edge_litert import schema_py_generated as schema

    entry = next((entry for entry in graph.metadata if (entry.name or b"") in {key, key.encode()}), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name = key.encode()
        graph.metadata.append(entry)
    tensors = (tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors)
    users = sum(user.buffer == entry.buffer for user in (*tensors, *graph.metadata))
    if entry.buffer == 0 or users != 1 or entry.buffer >= len(graph.buffers):
        entry.buffer = len(graph.buffers)
        graph.buffers.append(schema.BufferT())
    return graph.buffers[entry.buffer]
