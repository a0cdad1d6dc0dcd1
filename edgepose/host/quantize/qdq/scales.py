"""From ranges to scales and zero points, and from real values to integers, as QuantizeLinear has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNED_STEPS, _UNSIGNED_STEPS = 127.0, 255.0
# A bias in steps of input times weight leaves half of int32 for the sum of products.
_LARGEST_BIAS = 2.0**30
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Scale:
    """How integers stand for real values: ``real = (integer - zero_point) * scale``.

    Attributes:
        scale: float32 scalar, or (C,) with one for each channel.
        zero_point: The same shape; its type is that of the integers.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]

    def quantize(self, values: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """Rounds half to even and saturates.

        Args:
            values: Real values.
            axis: Where the channels are, if the scale has several.
        """
        along = [-1 if i == axis % max(values.ndim, 1) else 1 for i in range(values.ndim)]
        scale, zero = (
            a.reshape(along) if a.ndim else a for a in (self.scale.astype(np.float64), self.zero_point)
        )
        limits = np.iinfo(self.zero_point.dtype)
        steps = np.round(values.astype(np.float64) / scale) + zero
        return np.asarray(np.clip(steps, limits.min, limits.max).astype(self.zero_point.dtype))


def activation_scale(low: float, high: float, *, symmetric: bool) -> Scale:
    """The scale of an activation tensor; 0 is exact.

    Args:
        low: Least value to represent.
        high: Greatest value to represent.
        symmetric: int8 around zero point 0, else uint8.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        scale = np.float32(max(-low, high) / _SIGNED_STEPS)
        return Scale(np.array(scale if scale > 0 else 1.0, np.float32), np.array(0, np.int8))
    scale = np.float32((high - low) / _UNSIGNED_STEPS)
    if not scale > 0:
        return Scale(np.array(1.0, np.float32), np.array(0, np.uint8))
    zero = np.clip(np.round(-low / float(scale)), 0, _UNSIGNED_STEPS)
    return Scale(np.array(scale, np.float32), np.array(zero, np.uint8))


def weight_scale(
    weights: NDArray[Any], axis: int | None, bias: NDArray[Any] | None = None, input_scale: float = 1.0
) -> Scale:
    """The int8 scale of stored weights, zero point 0.

    Args:
        weights: The weights.
        axis: Axis of the output channels; None for one scale in all.
        bias: (C,) A bias that must fit into int32 in steps of ``input_scale`` times this scale, or None.
        input_scale: Scale of the layer's input.
    """
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    largest = np.abs(weights.astype(np.float64)).max(axis=others)
    scale = largest / _SIGNED_STEPS
    if bias is not None:
        least = np.abs(bias.astype(np.float64)) / (input_scale * _LARGEST_BIAS)
        scale = np.maximum(scale, least if axis is not None else least.max())
    scale = np.where(scale > _TINY, scale, 1.0).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int8))


def bias_scale(input_scale: Scale, weights: Scale) -> Scale:
    """The int32 scale of a bias, as integer kernels add it: input scale times weight scale."""
    scale = (input_scale.scale * weights.scale).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32))
