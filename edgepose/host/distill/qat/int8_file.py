"""From learned weights and ranges to an int8 TFLite file, by way of the float file of the same student.

The float file's ops are found again by what they compute (kind, inputs, activation and the very weights),
not by name: a converter's names say little. What cannot be told is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.distill.folded_network import FoldedNetwork, FoldedStep
from edgepose.host.distill.qat.rounded_student import Range
from edgepose.host.quantize.repair.float_model import TfliteFloat
from edgepose.host.quantize.repair.network import NO_CLIP, Clip, Network, Step, Sum, Weighted, Window
from edgepose.records.lineage import QuantizationRecipe

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
    """Finds every step of a student in its converted float file.

    Args:
        network: The student, with the weights that were converted.
        file: What the file computes.

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
    pairs = (
        (_tflite_kernel(step), file.constants[other.weights]),
        (_bias(step), file.constants[other.bias]),
    )
    return all(one.shape == two.shape and _close(one, two) for one, two in pairs)


def _close(one: NDArray[np.float32], two: NDArray[np.float32]) -> bool:
    return bool(np.abs(one - two).max() <= _RELATIVE_ERROR * max(float(np.abs(one).max()), 1e-6))


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
