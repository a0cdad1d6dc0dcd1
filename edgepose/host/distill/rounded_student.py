"""A folded student that rounds where its int8 file will, learns weights and ranges, and becomes that file.

Fake quantization in Keras ops alone: values go to int8 and back, gradients pass straight through (Bengio et
al. 2013). The grids are those of TFLite (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018): activations have one asymmetric grid of 256 codes a
tensor that holds 0 exactly, weights one symmetric grid of 255 codes an output channel.

The float file's ops are found again by what they compute (kind, inputs, activation and the very weights),
not by name: a converter's names say little. What cannot be told is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.distill.folded_network import FoldedNetwork, FoldedStep
from edgepose.host.quantize.repair.float_model import TfliteFloat
from edgepose.host.quantize.repair.network import NO_CLIP, Clip, Network, Step, Sum, Weighted, Window
from edgepose.records.lineage import QuantizationRecipe

_LEAST_CODE, _GREATEST_CODE = -128.0, 127.0
_CODES = _GREATEST_CODE - _LEAST_CODE
# ai-edge-quantizer widens narrower ranges to this.
_NARROWEST = 1e-9


def rounded_activations(values: Any, low: Any, high: Any) -> Any:
    """Values on the int8 grid of a range.

    Args:
        values: Any shape, float32.
        low: Least value of the range; the range is widened to hold 0.
        high: Greatest value.

    Returns:
        The same shape. The gradient to ``values`` is 1 where they lie on the grid's range and 0 beyond.
    """
    step, zero = _grid(low, high)
    codes = ops.clip(ops.round(values / step) + zero, _LEAST_CODE, _GREATEST_CODE)
    rounded = (codes - zero) * step
    least, greatest = (_LEAST_CODE - zero) * step, (_GREATEST_CODE - zero) * step
    inside = ops.cast(ops.logical_and(values >= least, values <= greatest), values.dtype)
    # Not ops.clip, whose gradient at the ends differs between backends; zeros lie at an end behind a ReLU.
    kept = values * ops.stop_gradient(inside)
    return kept + ops.stop_gradient(rounded - kept)


def rounded_kernel(kernel: Any) -> Any:
    """A kernel on its int8 grid, one scale for each output channel.

    Args:
        kernel: (height, width, in, out), float32.

    Returns:
        The same shape; the gradient is that of the kernel itself, since nothing is cut.
    """
    largest = ops.max(ops.abs(kernel), axis=(0, 1, 2), keepdims=True)
    step = ops.maximum(largest, _NARROWEST) / _GREATEST_CODE
    rounded = ops.round(kernel / step) * step
    return kernel + ops.stop_gradient(rounded - kernel)


def _grid(low: Any, high: Any) -> tuple[Any, Any]:
    """Step and zero point."""
    low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
    step = ops.maximum(high - low, _NARROWEST) / _CODES
    return ops.stop_gradient(step), ops.stop_gradient(ops.round(_LEAST_CODE - low / step))


Range = tuple[float, float]
Weights = tuple[NDArray[np.float32], NDArray[np.float32]]

# The ranges of about the last hundred steps count.
_MOMENTUM = 0.99


class RoundedSteps(keras.layers.Layer):  # type: ignore[misc]
    """All steps of a folded network, each rounded.

    A range follows the mean over the samples of each one's extremes, as the ``average`` of a recipe does:
    in training it moves towards every batch's. The output is never cut, as a heatmap's peak that saturates
    has no place: its range holds all that was seen.

    Args:
        network: The network; its weights are where the learning starts.
        input_range: Range of the input, fixed.
    """

    def __init__(self, network: FoldedNetwork, input_range: Range, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self._network, self._input_range = network, input_range
        self._weights_of: dict[str, tuple[Any, Any]] = {}
        self._ranges_of: dict[str, tuple[Any, Any]] = {}

    def build(self, _input_shape: Any) -> None:
        """Makes the variables: kernels and biases to learn, ranges to follow."""
        for step in self._network.convolutions:
            self._weights_of[step.name] = (
                self._variable(f"{step.name}_kernel", step.kernel, trainable=True),
                self._variable(f"{step.name}_bias", step.bias, trainable=True),
            )
        for step in self._network.steps:
            if step.kind != "resize":
                nothing = np.zeros((), np.float32)
                self._ranges_of[step.name] = (
                    self._variable(f"{step.name}_low", nothing, trainable=False),
                    self._variable(f"{step.name}_high", nothing, trainable=False),
                )
        self._batches = self._variable("batches", np.zeros((), np.float32), trainable=False)
        self.built = True

    def _variable(self, name: str, start: Any, *, trainable: bool) -> Any:
        return self.add_weight(
            shape=start.shape,
            initializer=lambda _shape, dtype=None: ops.convert_to_tensor(start, dtype),
            trainable=trainable,
            name=name,
        )

    def call(self, values: Any, *, training: bool = False) -> Any:
        """(N, H, W, 3) normalized to (N, h, w, K), both on their grids."""
        network = self._network
        tensors = {network.input_name: rounded_activations(values, *self._input_range)}
        for step in network.steps:
            exact = self._computed(step, [tensors[source] for source in step.sources])
            if training and step.kind != "resize":
                self._follow(step, exact)
            tensors[step.name] = rounded_activations(exact, *self._range(step))
        if training:
            self._batches.assign(self._batches + 1.0)
        return tensors[network.steps[-1].name]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Follows the sizes through the steps."""
        sizes = {self._network.input_name: input_shape}
        for step in self._network.steps:
            count, height, width, channels = sizes[step.sources[0]]
            if step.kind == "convolution" and step.bias is not None:
                height, width = (-(-side // step.stride) if side else side for side in (height, width))
                channels = len(step.bias)
            elif step.kind == "resize":
                height, width = (side * 2 if side else side for side in (height, width))
            sizes[step.name] = (count, height, width, channels)
        return sizes[self._network.steps[-1].name]

    def learned_weights(self) -> dict[str, Weights]:
        """Kernel and bias of every convolution, not rounded."""
        return {
            name: (ops.convert_to_numpy(kernel), ops.convert_to_numpy(bias))
            for name, (kernel, bias) in self._weights_of.items()
        }

    def learned_ranges(self) -> dict[str, Range]:
        """The range of the input and of what every step writes."""
        ranges = {self._network.input_name: self._input_range}
        for step in self._network.steps:
            low, high = self._range(step)
            ranges[step.name] = (float(ops.convert_to_numpy(low)), float(ops.convert_to_numpy(high)))
        return ranges

    def _computed(self, step: FoldedStep, sources: list[Any]) -> Any:
        if step.kind == "convolution":
            kernel, bias = self._weights_of[step.name]
            result = ops.conv(
                sources[0],
                rounded_kernel(ops.convert_to_tensor(kernel)),
                strides=step.stride,
                padding="same",
                data_format="channels_last",
            )
            # The file's bias has 32 bits in steps of input times weight: too fine to matter.
            result = result + bias
        elif step.kind == "addition":
            result = sources[0] + sources[1]
        else:
            height, width = sources[0].shape[1:3]
            result = ops.image.resize(
                sources[0], (height * 2, width * 2), "bilinear", data_format="channels_last"
            )
        return ops.relu6(result) if step.relu6 else result

    def _range(self, step: FoldedStep) -> tuple[Any, Any]:
        """TFLite gives a resized tensor the scale of its source."""
        while step.kind == "resize":
            step = next(other for other in self._network.steps if other.name == step.sources[0])
        low, high = self._ranges_of[step.name]
        return ops.convert_to_tensor(low), ops.convert_to_tensor(high)

    def _follow(self, step: FoldedStep, values: Any) -> None:
        low, high = self._ranges_of[step.name]
        values = ops.stop_gradient(values)
        if step is self._network.steps[-1]:
            low.assign(ops.minimum(low, ops.min(values)))
            high.assign(ops.maximum(high, ops.max(values)))
            return
        # A plain mean at first, so that the first batch sets the range and does not weigh for long.
        share = ops.maximum(1.0 / (self._batches + 1.0), 1.0 - _MOMENTUM)
        for kept, seen in ((low, ops.min(values, axis=(1, 2, 3))), (high, ops.max(values, axis=(1, 2, 3)))):
            kept.assign(kept + share * (ops.mean(seen) - kept))


def rounded_student(network: FoldedNetwork, input_range: Range) -> Any:
    """A Keras model of the rounded network.

    Returns:
        (N, H, W, 3) normalized to (N, h, w, K); its layer ``rounded`` has weights and ranges.
    """
    image = keras.Input(network.input_shape, name="image")
    return keras.Model(image, RoundedSteps(network, input_range, name="rounded")(image))


def steps_of(student: Any) -> RoundedSteps:
    """The layer that does the work in what ``rounded_student`` gave."""
    layer: RoundedSteps = student.get_layer("rounded")
    return layer


_RELU6 = Clip(0.0, 6.0)
# HWIO, as Keras has it, to OHWI, as TFLite has it.
_TO_TFLITE = (3, 0, 1, 2)
# The converter folds batch normalization in float32.
_RELATIVE_ERROR = 1e-4


@dataclass(frozen=True)
class TensorMap:
    """Where a student's steps are in its float file.

    Attributes:
        tensors: Name of the input, or of a step, to the tensor that it writes.
        stored: Name of a convolution to its stored weights and bias.
    """

    tensors: dict[str, str]
    stored: dict[str, tuple[str, str]]


def find_steps(network: FoldedNetwork, file: Network) -> TensorMap:
    """Finds every step of a student, with the weights that were converted, in its converted float file.

    Raises:
        ModelError: A step is not there, is there twice, or the file computes more than the student.
    """
    found = TensorMap({network.input_name: file.inputs[0]}, {})
    left = list(file.steps)
    for step in network.steps:
        fitting = [other for other in left if _fits(step, other, found.tensors, file)]
        if len(fitting) != 1:
            raise ModelError(
                f"The converted student has {len(fitting)} ops that compute {step.kind} '{step.name}', "
                "expected 1; the learned ranges cannot be assigned.",
                "Use --qat-steps 0 and report this: the converter writes another graph than edgepose knows.",
            )
        left.remove(fitting[0])
        _take(step, fitting[0], found)
    last = found.tensors[network.steps[-1].name]
    if left or file.outputs != (last,):
        more = f", and computes {left[0].name}" if left else ""
        raise ModelError(f"The converted student has outputs {file.outputs}, expected ('{last}',){more}.")
    return found


def int8_bytes(
    float_file: bytes,
    converted: FoldedNetwork,
    learned: FoldedNetwork,
    ranges: dict[str, Range],
    recipe: QuantizationRecipe,
) -> bytes:
    """Writes learned weights and ranges into an int8 file.

    Args:
        float_file: The float TFLite file of the student.
        converted: The student with the weights that the file holds.
        learned: The same with those that it is to hold.
        ranges: Of the input and of every step.
        recipe: A static one.

    Raises:
        ModelError: A step cannot be found in the file, or the quantizer fails.
        MissingDependencyError: ai-edge-quantizer is not installed.
    """
    model = TfliteFloat(float_file)
    found = find_steps(converted, model.network)
    constants: dict[str, NDArray[np.float32]] = {}
    for step in learned.convolutions:
        weights, bias = found.stored[step.name]
        constants[weights], constants[bias] = _tflite_kernel(step), _bias(step)
    by_tensor = {tensor: ranges[name] for name, tensor in found.tensors.items()}
    return model.with_constants(constants).quantized(recipe, by_tensor)


def _fits(step: FoldedStep, other: Step, tensors: dict[str, str], file: Network) -> bool:
    sources = [tensors[source] for source in step.sources]
    clip = _RELU6 if step.relu6 else NO_CLIP
    if step.kind == "convolution":
        return (
            isinstance(other, Weighted)
            and other.name == "CONV_2D"
            and (other.source, other.clip) == (sources[0], clip)
            and _same_weights(step, other, file)
        )
    if step.kind == "addition":
        return (
            isinstance(other, Sum)
            and other.constant is None
            and other.clip == clip
            and sorted(other.sources) == sorted(sources)
        )
    return isinstance(other, Window) and other.name == "RESIZE_BILINEAR" and other.source == sources[0]


def _same_weights(step: FoldedStep, other: Weighted, file: Network) -> bool:
    if other.bias is None:
        return False
    pairs = ((_tflite_kernel(step), file.constants[other.weights]), (_bias(step), file.constants[other.bias]))
    return all(
        one.shape == two.shape
        and np.abs(one - two).max() <= _RELATIVE_ERROR * max(float(np.abs(one).max()), 1e-6)
        for one, two in pairs
    )


def _take(step: FoldedStep, other: Step, found: TensorMap) -> None:
    if isinstance(other, Weighted | Sum | Window):
        found.tensors[step.name] = other.output
    if isinstance(other, Weighted) and other.bias is not None:
        found.stored[step.name] = (other.weights, other.bias)


def _tflite_kernel(step: FoldedStep) -> NDArray[np.float32]:
    if step.kernel is None:
        raise ValueError(f"{step.name} has no kernel")
    return np.ascontiguousarray(step.kernel.transpose(_TO_TFLITE))


def _bias(step: FoldedStep) -> NDArray[np.float32]:
    if step.bias is None:
        raise ValueError(f"{step.name} has no bias")
    return step.bias
