"""Converts ONNX to TensorFlow Lite without TensorFlow: one clean NHWC graph, in seconds."""
