"""A float network as the repair sees it: what carries channels on, what mixes them, what stops them.

TFLite and ONNX readers translate a file into these steps (:mod:`.tflite_network`, :mod:`.onnx_network`);
everything that decides works on them alone. Only seven kinds of step matter here, because the question is
always the same: may a channel be scaled here, and where must the scale be taken back?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Moves arrays of any element type the way the op moves its values: reshape, concatenate, slice ...
Move = Callable[..., Array]


@dataclass(frozen=True)
class Clip:
    """The fused or lone activation of a step.

    Attributes:
        low: Values below are cut off; None: none are.
        high: Values above are cut off; None: none are.
    """

    low: float | None = None
    high: float | None = None

    @property
    def bounds_scale(self) -> bool:
        """Whether a bound other than 0 stands in the way of scaling (ReLU6; not ReLU)."""
        return self.high is not None or self.low not in {None, 0.0}


NO_CLIP = Clip()
RELU = Clip(low=0.0)


@dataclass(frozen=True)
class Weighted:
    """A convolution or matrix product with stored weights: input and output channels are free of each other.

    Attributes:
        source: Input tensor.
        output: Output tensor.
        weights: Name of the stored weights.
        bias: Name of the stored bias (O,), or None.
        to_matrix: Axes that bring the stored weights to (O, inputs per output, taps ...).
        reads: int (O, inputs per output): which channel of ``source`` each weight reads.
        channel_axes: Axis of the channels in ``source`` and in ``output``.
        spreads: Whether every input element reaches every tap (a transposed convolution).
        dilation: Distance of the taps, height then width.
        clip: The fused activation.
        name: Op name for reports, for example ``CONV_2D``.
    """

    source: str
    output: str
    weights: str
    bias: str | None
    to_matrix: tuple[int, ...]
    reads: NDArray[np.int64]
    channel_axes: tuple[int, int]
    spreads: bool = False
    dilation: tuple[int, int] = (1, 1)
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Moved:
    """Moves values without changing them: reshape, transpose, slice, split, concatenation, padding with 0.

    Attributes:
        sources: Input tensors.
        output: Output tensor.
        move: Moves arrays of any type as the op moves its values. Padding is filled with -1 by ``move``
            where the elements are indices (int64) and 0 else.
        clip: The fused activation.
        name: Op name for reports.
    """

    sources: tuple[str, ...]
    output: str
    move: Move
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Elementwise:
    """One tensor in, the same shape out, positively homogeneous: ReLU, LeakyReLU, PReLU, times a constant.

    Attributes:
        source: Input tensor.
        output: Output tensor.
        factor: What each element is multiplied by, broadcastable; 1 for plain activations.
        clip: The activation.
        name: Op name for reports.
    """

    source: str
    output: str
    factor: Array
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Sum:
    """Adds or subtracts tensors; what meets must have one scale.

    Attributes:
        sources: Input tensors, broadcast against each other.
        output: Output tensor.
        constant: Name of a stored summand, which is scaled along, or None.
        clip: The fused activation.
        name: Op name for reports.
    """

    sources: tuple[str, ...]
    output: str
    constant: str | None = None
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Product:
    """Multiplies a tensor with a gate; the gate keeps its scale.

    Attributes:
        source: The scaled tensor.
        gate: The other one.
        output: Output tensor.
        clip: The fused activation.
        name: Op name for reports.
    """

    source: str
    gate: str
    output: str
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Window:
    """Pools or resizes in space, channel by channel.

    Attributes:
        source: Input tensor.
        output: Output tensor.
        channel_axes: Axis of the channels in ``source`` and in ``output``.
        averaged: How many elements one output is the mean of; 1 for a maximum or a resize.
        clip: The fused activation.
        name: Op name for reports.
    """

    source: str
    output: str
    channel_axes: tuple[int, int]
    averaged: int = 1
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Opaque:
    """Anything else: no scale passes.

    Attributes:
        sources: Input tensors that are computed.
        outputs: Output tensors.
        name: Op name for reports.
    """

    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""


Step = Weighted | Moved | Elementwise | Sum | Product | Window | Opaque


def outputs_of(step: Step) -> tuple[str, ...]:
    """The tensors that a step writes."""
    return step.outputs if isinstance(step, Opaque) else (step.output,)


def sources_of(step: Step) -> tuple[str, ...]:
    """The computed tensors that a step reads."""
    if isinstance(step, Moved | Sum | Opaque):
        return step.sources
    return (step.source, step.gate) if isinstance(step, Product) else (step.source,)


@dataclass
class Network:
    """A float network.

    Attributes:
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        shapes: Static shape of every computed tensor.
        steps: In an order in which each step's sources are written before it.
        constants: Stored float values by name, in the file's own layout.
        channel_axis: Axis of the channels in a feature map: -1 (TFLite) or 1 (ONNX).
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    steps: list[Step] = field(default_factory=list)
    constants: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    channel_axis: int = -1

    def axis_of(self, tensor: str) -> int:
        """The channel axis of a tensor, counted from 0; the last one where it is no feature map."""
        rank = len(self.shapes[tensor])
        return self.channel_axis % rank if rank == 4 else rank - 1

    def matrix(self, step: Weighted) -> NDArray[np.float32]:
        """A step's weights as (O, inputs per output, taps)."""
        moved = self.constants[step.weights].transpose(step.to_matrix)
        return moved.reshape(moved.shape[0], moved.shape[1], -1)
