"""A float model in which one layer is rounded as int8 would round it, everything else exact.

The layer's output goes to int8 and back where it is written, so all readers and the model's outputs see the
rounded values; its weights are stored rounded. Neither names nor order of inputs and outputs change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.qdq.scales import Scale, activation_scale, weight_scale
from edgepose.host.quantize.repair.network import Network, Weighted

Constants = Mapping[str, NDArray[np.float32]]
# An unsigned integer less this is the signed one that stands for the same value.
_UNSIGNED_TO_SIGNED = 128


class RoundableModel(Protocol):
    """A float model in memory that can be written with changes."""

    def changed(self, rounded: Mapping[str, Scale], constants: Constants) -> bytes:
        """The file with tensors rounded and constants replaced; the model itself stays as it is.

        Raises:
            ValueError: The model has no such tensor.
        """
        ...

    @property
    def network(self) -> Network:
        """What the model computes, step by step."""
        ...


def open_roundable(model: bytes) -> RoundableModel:
    """Reads a float TFLite or ONNX file.

    Args:
        model: The file's bytes.
    """
    # A TFLite file says so behind its first offset; an ONNX file has no marker of its own.
    if model[4:8] == b"TFL3":
        from edgepose.host.quantize.diagnosis.tflite_rounding import TfliteModel

        return TfliteModel(model)
    from edgepose.host.quantize.diagnosis.onnx_rounding import OnnxModel

    return OnnxModel(model)


def fake_quantized(model: bytes, tensor: str, low: float, high: float, *, symmetric: bool) -> bytes:
    """The model with one tensor rounded to 256 steps.

    Args:
        model: A float TFLite or ONNX file.
        tensor: What to round: the input or what any op writes, of float32.
        low: Least value to represent.
        high: Greatest value to represent.
        symmetric: Whether the zero point is 0.

    Raises:
        ValueError: The model has no such tensor.
    """
    return open_roundable(model).changed({tensor: int8_scale(low, high, symmetric=symmetric)}, {})


def fake_quantized_weights(model: bytes, tensor: str) -> bytes:
    """The model with the stored weights of one layer rounded, one scale for each output channel.

    Args:
        model: A float TFLite or ONNX file.
        tensor: What the layer writes.

    Raises:
        ValueError: No layer with stored weights writes it.
    """
    float_model = open_roundable(model)
    network = float_model.network
    step = next((s for s in network.steps if isinstance(s, Weighted) and s.output == tensor), None)
    if step is None:
        raise ValueError(f"no layer with stored weights writes '{tensor}'")
    return float_model.changed({}, {step.weights: rounded_weights(network, step)})


def int8_scale(low: float, high: float, *, symmetric: bool) -> Scale:
    """Scale of an activation in int8; 0 is exact, the zero point is nudged as the quantizers do it."""
    scale = activation_scale(low, high, symmetric=symmetric)
    if symmetric:
        return scale
    zero = np.array(int(scale.zero_point) - _UNSIGNED_TO_SIGNED, np.int8)
    return Scale(scale.scale, zero)


def rounded_weights(network: Network, step: Weighted) -> NDArray[np.float32]:
    """A layer's weights in int8 with one scale for each output channel, back as float."""
    weights = network.constants[step.weights]
    axis = step.to_matrix[0]
    scale = weight_scale(weights, axis)
    along = [-1 if i == axis else 1 for i in range(weights.ndim)]
    steps: NDArray[Any] = scale.quantize(weights, axis).astype(np.float32)
    return np.asarray(steps * scale.scale.reshape(along), np.float32)
