"""Every intermediate tensor of an ONNX model: the very reader that calibrates on a device."""

from __future__ import annotations

from edgepose.inference.backends.onnxruntime_tensors import OnnxTensors

__all__ = ["OnnxTensors"]
