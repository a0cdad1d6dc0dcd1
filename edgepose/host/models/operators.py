"""What is known of ops by their names: the one table of those with weights, of both formats.

Which ONNX ops have an integer kernel between DequantizeLinear and QuantizeLinear: by the QDQ selectors of
ONNX Runtime (``qdq_selector_action_transformer.cc``) and the chapter "Working with Quantized Types" of
NVIDIA's TensorRT documentation. ``ConvTranspose`` is TensorRT's alone.
"""

from __future__ import annotations

# TFLite: position of the stored weights among an op's inputs (the kernels' documentation in schema.fbs).
TFLITE_WEIGHTS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D"), 1)
}
TFLITE_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})

# ONNX.
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# Written right behind an op they are part of it.
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
WEIGHTED = CONVOLUTIONS | {"Gemm", "MatMul"}
INTEGER_WEIGHTED = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})
# They move values or choose among them: input and output have one scale.
SAME_SCALE = frozenset(
    {
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile", "Slice", "Gather"),
        *("Split", "MaxPool", "Resize", "DepthToSpace", "SpaceToDepth", "Pad", "GatherElements"),
        *("Identity", "Dropout"),
    }
)
INTEGER_KERNELS = frozenset(
    {
        *WEIGHTED,
        *SAME_SCALE,
        *FUSED_ACTIVATIONS,
        *("Add", "Mul", "Concat", "Where", "Softmax", "AveragePool", "GlobalAveragePool", "LeakyRelu"),
        *("Sigmoid", "ArgMax"),
    }
)
# Inputs from this position on are parameters, not data.
_PARAMETERS_FROM = {
    **dict.fromkeys(("Resize", "Clip", "Pad", "Upsample", "Dropout", "Slice", "Split"), 1),
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Gather", "GatherElements", "Squeeze", "Unsqueeze"), 1),
}
_FIRST_DATA = {"Where": 1}


def data_positions(op_type: str, inputs: int) -> range:
    """Positions of a node's inputs that carry data."""
    return range(_FIRST_DATA.get(op_type, 0), min(inputs, _PARAMETERS_FROM.get(op_type, inputs)))
