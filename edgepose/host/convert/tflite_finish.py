"""Gives a converted TFLite file what runtimes and quantizers need: names and a signature."""

from __future__ import annotations

from typing import Any

from edgepose.host.quantize.tflite_graph import read_tflite, tensor_name

SIGNATURE_KEY = b"serving_default"


def finish_tflite(data: bytes, input_name: str, output_names: dict[str, str]) -> bytes:
    """Renames input and outputs and adds the signature that onnx2tf leaves out.

    Args:
        data: The converted file, with one subgraph and one input.
        input_name: Name for the input.
        output_names: The converter's output names to the parent's.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    graph = read_tflite(data)
    subgraph = graph.subgraphs[0]
    inputs, outputs = list(subgraph.inputs), list(subgraph.outputs)
    # Names must be unique: an inner tensor gives way to an input or output.
    wanted = {inputs[0]: input_name, **{i: output_names[tensor_name(subgraph.tensors[i])] for i in outputs}}
    for index, tensor in enumerate(subgraph.tensors):
        if index not in wanted and tensor_name(tensor) in wanted.values():
            tensor.name = f"{tensor_name(tensor)}_inner".encode()
    for index, name in wanted.items():
        subgraph.tensors[index].name = name.encode()
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE_KEY
    signature.subgraphIndex = 0
    signature.inputs = [_entry(schema, input_name, inputs[0])]
    signature.outputs = [_entry(schema, wanted[index], index) for index in outputs]
    graph.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))


def _entry(schema: Any, name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = int(index)
    return entry
