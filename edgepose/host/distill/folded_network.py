"""A student as TFLite computes it: batch normalization folded, activations fused, three kinds of step left.

Every step writes one tensor, and every such tensor is rounded to int8 in the converted file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgepose.errors import ModelError

Kind = Literal["convolution", "addition", "resize"]

_RELU6 = 6.0


@dataclass(frozen=True, eq=False)
class FoldedStep:
    """One op of the converted file.

    Attributes:
        name: Of the layer that it begins with.
        kind: What it does; a resize doubles height and width, bilinear.
        sources: Names of the steps, or of the network's input, that it reads.
        relu6: Whether the result is cut to 0 to 6.
        kernel: float32 (height, width, in, out); None but for a convolution.
        bias: float32 (out,); None but for a convolution.
        stride: Of a convolution, along both axes; padding is ``same``.
    """

    name: str
    kind: Kind
    sources: tuple[str, ...]
    relu6: bool = False
    kernel: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    stride: int = 1


@dataclass(frozen=True)
class FoldedNetwork:
    """A whole student.

    Attributes:
        input_shape: (H, W, channels).
        steps: In an order in which they can be computed; the last one writes the output.
    """

    input_name: str
    input_shape: tuple[int, int, int]
    steps: tuple[FoldedStep, ...]

    @property
    def convolutions(self) -> tuple[FoldedStep, ...]:
        """The steps that have weights."""
        return tuple(step for step in self.steps if step.kind == "convolution")

    def with_weights(
        self, weights: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    ) -> FoldedNetwork:
        """The same network with other kernels and biases, by the convolutions' names."""
        steps = tuple(
            replace(step, kernel=weights[step.name][0], bias=weights[step.name][1])
            if step.name in weights
            else step
            for step in self.steps
        )
        return replace(self, steps=steps)


def fold(student: Any) -> FoldedNetwork:
    """Reads a functional Keras student.

    Args:
        student: Of convolutions, batch normalizations, ReLU6, additions and bilinear upsampling by 2.

    Raises:
        ModelError: A layer is of another kind or stands elsewhere than where TFLite fuses it.
    """
    return _Reader(student).network


def moved_input(network: FoldedNetwork, distance: float) -> FoldedNetwork:
    """The network that gives for ``x`` what this one gives for ``x + distance``, but for the padded border.

    The first convolution's bias takes the difference.
    """
    weights = {}
    for step in network.convolutions:
        if step.sources == (network.input_name,) and step.kernel is not None and step.bias is not None:
            moved = step.bias + distance * step.kernel.sum(axis=(0, 1, 2), dtype=np.float64)
            weights[step.name] = (step.kernel, moved.astype(np.float32))
    return network.with_weights(weights)


class _Reader:
    """One walk along the layers."""

    def __init__(self, student: Any) -> None:
        self._steps: dict[str, FoldedStep] = {}
        # Which step wrote a symbolic tensor, by identity; and how many layers read it.
        self._written: dict[int, str] = {}
        self._readers = Counter(id(tensor) for layer in student.layers[1:] for tensor in _inputs(layer))
        first = student.layers[0]
        if not isinstance(first, keras.layers.InputLayer):
            raise _unfit(first, "the first layer is no input")
        self._written[id(first.output)] = first.name
        for layer in student.layers[1:]:
            self._written[id(layer.output)] = self._read(layer)
        steps = list(self._steps.values())
        last = self._written[id(student.outputs[0])]
        if len(student.outputs) != 1 or steps[-1].name != last:
            raise ModelError(f"{student.name} has not one output that its last layer writes.")
        self.network = FoldedNetwork(first.name, tuple(first.output.shape[1:]), tuple(steps))

    def _read(self, layer: Any) -> str:
        """Takes a layer in; returns the step that it belongs to."""
        layers = keras.layers
        if isinstance(layer, layers.Conv2D):
            return self._new(_convolution(layer, self._sources(layer)))
        if isinstance(layer, layers.BatchNormalization):
            return self._joined(layer, _normalized)
        if isinstance(layer, layers.ReLU):
            return self._joined(layer, _cut)
        if isinstance(layer, layers.Add):
            return self._new(FoldedStep(layer.name, "addition", self._sources(layer)))
        if isinstance(layer, layers.UpSampling2D):
            if tuple(layer.size) != (2, 2) or layer.interpolation != "bilinear":
                raise _unfit(layer, "only bilinear upsampling by 2 is known")
            return self._new(FoldedStep(layer.name, "resize", self._sources(layer)))
        raise _unfit(layer, "this kind of layer is not known")

    def _sources(self, layer: Any) -> tuple[str, ...]:
        return tuple(self._written[id(tensor)] for tensor in _inputs(layer))

    def _new(self, step: FoldedStep) -> str:
        self._steps[step.name] = step
        return step.name

    def _joined(self, layer: Any, change: Any) -> str:
        """Fuses a layer with the step before it."""
        (source,) = self._sources(layer)
        if source not in self._steps or self._readers[id(layer.input)] != 1:
            raise _unfit(layer, "it does not belong to one convolution or addition alone")
        self._steps[source] = change(self._steps[source], layer)
        return source


def _inputs(layer: Any) -> list[Any]:
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]


def _convolution(layer: Any, sources: tuple[str, ...]) -> FoldedStep:
    plain = (
        # Where a kernel is 1 x 1, both paddings are none.
        (layer.padding == "same" or tuple(layer.kernel_size) == (1, 1))
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.strides[0] == layer.strides[1]
        and layer.data_format == "channels_last"
        and layer.activation is keras.activations.linear
    )
    if not plain:
        raise _unfit(layer, "only plain convolutions with padding 'same' are known")
    kernel = _array(layer.kernel)
    bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
    return FoldedStep(
        layer.name, "convolution", sources, kernel=kernel, bias=bias, stride=int(layer.strides[0])
    )


def _normalized(step: FoldedStep, layer: Any) -> FoldedStep:
    """``gamma (w x + b - mean) / sqrt(variance + epsilon) + beta`` as one convolution."""
    if step.kernel is None or step.bias is None or step.relu6:
        raise _unfit(layer, "it does not follow a convolution")
    mean, variance = (_array(v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance))
    gamma = _array(layer.gamma).astype(np.float64) if layer.scale else 1.0
    beta = _array(layer.beta).astype(np.float64) if layer.center else 0.0
    factor = gamma / np.sqrt(variance + layer.epsilon)
    kernel, bias = step.kernel * factor, (step.bias - mean) * factor + beta
    return replace(step, kernel=kernel.astype(np.float32), bias=bias.astype(np.float32))


def _cut(step: FoldedStep, layer: Any) -> FoldedStep:
    if step.kind == "resize" or step.relu6:
        raise _unfit(layer, "it follows neither a convolution nor an addition")
    if layer.max_value != _RELU6 or layer.negative_slope or layer.threshold:
        raise _unfit(layer, "only ReLU6 is known")
    return replace(step, relu6=True)


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(ops.convert_to_numpy(variable), np.float32)


def _unfit(layer: Any, why: str) -> ModelError:
    return ModelError(
        f"Layer '{layer.name}' ({type(layer).__name__}) cannot be folded: {why}.",
        "Only networks built like edgepose's students are known.",
    )
