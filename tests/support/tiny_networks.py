"""Small float networks written op by op: two convolutions, and on wish an op that no quantizer knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.records.model_spec import (
    SPEC_METADATA_KEY,
    HeatmapCodecSpec,
    InputSpec,
    ModelSpec,
    spec_to_json,
)

WIDTH_PX, HEIGHT_PX, KEYPOINTS, CHANNELS = 24, 32, 17, 8


def tiny_spec(layout: str) -> ModelSpec:
    """The spec of both networks."""
    return ModelSpec(
        name="tiny",
        version="1",
        paradigm="top_down",
        licence="Apache-2.0",
        source="tests",
        input=InputSpec(
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            layout=layout,  # type: ignore[arg-type]
            color_order="RGB",
            resize="crop",
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
        ),
        codec=HeatmapCodecSpec(output="heatmaps"),
        skeleton="coco17",
        min_pose_score=0.0,
    )


def write_tiny_onnx(path: Path, *, float_op: str | None = None, weight: float | None = None) -> Path:
    """Conv, Relu, Conv.

    Args:
        path: Where to write.
        float_op: An op between the convolutions that onnxruntime's quantizer leaves alone, such as Neg.
        weight: Replaces the first weight (NaN makes the network useless).
    """
    first, second = _weights(weight)
    middle = "relu" if float_op is None else "odd"
    nodes = [
        helper.make_node(
            "Conv", ["image", "w1", "b1"], ["conv1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]
        ),
        helper.make_node("Relu", ["conv1"], ["relu"], "relu"),
        helper.make_node("Conv", [middle, "w2"], ["heatmaps"], "conv2"),
    ]
    if float_op is not None:
        nodes.insert(2, helper.make_node(float_op, ["relu"], ["odd"], "odd"))
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(first.transpose(0, 3, 1, 2)), "w1"),
        numpy_helper.from_array(np.linspace(-0.2, 0.3, CHANNELS, dtype=np.float32), "b1"),
        numpy_helper.from_array(np.ascontiguousarray(second.transpose(0, 3, 1, 2)), "w2"),
    ]
    shapes = [1, 3, HEIGHT_PX, WIDTH_PX], [1, KEYPOINTS, HEIGHT_PX // 2, WIDTH_PX // 2]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, shapes[1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = SPEC_METADATA_KEY, spec_to_json(tiny_spec("NCHW"))
    onnx.save(model, path)
    return path


def write_tiny_tflite(
    path: Path, *, float_op: str | None = None, weight: float | None = None, signature: bool = True
) -> Path:
    """CONV_2D with a fused RELU, then CONV_2D.

    Args:
        path: Where to write.
        float_op: An op between the convolutions that ai-edge-quantizer leaves alone, such as NEG.
        weight: Replaces the first weight.
        signature: Whether the file names its input in a signature.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    from edgepose.host.models.artifact import write_metadata

    graph = _tflite_graph(float_op, weight, signature=signature)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(graph)))
    write_metadata(path, {SPEC_METADATA_KEY: spec_to_json(tiny_spec("NHWC"))})
    return path


def _weights(first_value: float | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(7)
    first = generator.normal(0, 0.3, (CHANNELS, 3, 3, 3)).astype(np.float32)
    second = generator.normal(0, 0.4, (KEYPOINTS, 1, 1, CHANNELS)).astype(np.float32)
    if first_value is not None:
        first[0, 1, 1, 0] = first_value
    return first, second


def _tflite_graph(float_op: str | None, weight: float | None, *, signature: bool) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    first, second = _weights(weight)
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, subgraph.tensors = 3, [schema.BufferT()], []
    half = (1, HEIGHT_PX // 2, WIDTH_PX // 2)

    def tensor(name: str, shape: tuple[int, ...], data: NDArray[np.float32] | None = None) -> int:
        entry, buffer = schema.TensorT(), 0
        if data is not None:
            stored = schema.BufferT()
            stored.data = np.frombuffer(data.astype(np.float32).tobytes(), np.uint8)
            buffer = len(model.buffers)
            model.buffers.append(stored)
        entry.name, entry.shape, entry.buffer = name.encode(), np.array(shape, np.int32), buffer
        entry.type = schema.TensorType.FLOAT32
        subgraph.tensors.append(entry)
        return len(subgraph.tensors) - 1

    image = tensor("image", (1, HEIGHT_PX, WIDTH_PX, 3))
    w1, w2 = tensor("w1", first.shape, first), tensor("w2", second.shape, second)
    b1 = tensor("b1", (CHANNELS,), np.linspace(-0.2, 0.3, CHANNELS))
    b2 = tensor("b2", (KEYPOINTS,), np.zeros(KEYPOINTS))
    relu = middle = tensor("relu", (*half, CHANNELS))
    codes = [_code("CONV_2D")]
    operators = [_convolution((image, w1, b1), relu, stride=2, relu=True)]
    if float_op is not None:
        middle = tensor("odd", (*half, CHANNELS))
        codes.append(_code(float_op))
        odd = schema.OperatorT()
        odd.opcodeIndex, odd.inputs, odd.outputs = 1, [relu], [middle]
        operators.append(odd)
    heatmaps = tensor("heatmaps", (*half, KEYPOINTS))
    operators.append(_convolution((middle, w2, b2), heatmaps, stride=1, relu=False))
    subgraph.inputs, subgraph.outputs, subgraph.operators = [image], [heatmaps], operators
    model.operatorCodes, model.subgraphs = codes, [subgraph]
    if signature:
        model.signatureDefs = [_signature({"image": image}, {"heatmaps": heatmaps})]
    return model


def _code(name: str) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    return code


def _convolution(inputs: tuple[int, int, int], output: int, *, stride: int, relu: bool) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, stride, stride
    options.dilationHFactor = options.dilationWFactor = 1
    kinds = schema.ActivationFunctionType
    options.fusedActivationFunction = kinds.RELU if relu else kinds.NONE
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, list(inputs), [output]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    return op


def _signature(inputs: dict[str, int], outputs: dict[str, int]) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    def maps(tensors: dict[str, int]) -> list[Any]:
        entries = []
        for name, index in tensors.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            entries.append(entry)
        return entries

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = maps(inputs), maps(outputs)
    return signature
