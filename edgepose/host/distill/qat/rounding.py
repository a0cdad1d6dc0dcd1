"""Fake quantization in Keras ops alone: values go to int8 and back, gradients pass straight through.

The grids are those of TFLite (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018): activations have one asymmetric grid of 256 codes a tensor
that holds 0 exactly, weights one symmetric grid of 255 codes an output channel. The straight-through
estimator is that of Bengio et al. 2013.
"""

from __future__ import annotations

from typing import Any

from keras import ops

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
