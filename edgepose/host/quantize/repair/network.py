"""A float network as the repair sees it: what carries channels on, what mixes them, what stops them.

TFLite and ONNX readers translate a file into these steps (:mod:`.tflite_network`, :mod:`.onnx_network`);
everything that decides works on them alone. Only seven kinds of step matter here, because the question is
always the same: may a channel be scaled here, and where must the scale be taken back? Each step names its
tensors, its fused activation (``clip``) and its op as reports have it (``CONV_2D``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Moves arrays of any element type the way the op moves its values: reshape, concatenate, slice ...
Move = Callable[..., Array]


@dataclass(frozen=True)
class Clip:
    """The fused or lone activation of a step: what it cuts off below and above; None: nothing."""

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
        weights: Name of the stored weights.
        bias: Name of the stored bias (O,), or None.
        to_matrix: Axes that bring the stored weights to (O, inputs per output, taps ...).
        reads: int (O, inputs per output): which channel of ``source`` each weight reads.
        channel_axes: Axis of the channels in ``source`` and in ``output``.
        spreads: Whether every input element reaches every tap (a transposed convolution).
        dilation: Distance of the taps, height then width.
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

    def in_file_layout(self, values: Array) -> NDArray[np.float32]:
        """Weights in the order (O, inputs per output, taps ...) as the file stores them."""
        return np.ascontiguousarray(values.transpose(np.argsort(self.to_matrix)), np.float32)


@dataclass(frozen=True)
class Moved:
    """Moves values without changing them: reshape, transpose, slice, split, concatenation, padding with 0."""

    sources: tuple[str, ...]
    output: str
    # Fills padding with -1 where the elements are indices (int64) and with 0 else.
    move: Move
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Elementwise:
    """One tensor in, the same shape out, positively homogeneous: ReLU, LeakyReLU, PReLU, times a constant."""

    source: str
    output: str
    # Broadcastable; 1 for plain activations.
    factor: Array
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Sum:
    """Adds or subtracts tensors; what meets must have one scale."""

    sources: tuple[str, ...]
    output: str
    # Name of a stored summand, which is scaled along.
    constant: str | None = None
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Product:
    """Multiplies a tensor with a gate; the gate keeps its scale."""

    source: str
    gate: str
    output: str
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Window:
    """Pools or resizes in space, channel by channel."""

    source: str
    output: str
    # Of the source, of the output.
    channel_axes: tuple[int, int]
    # How many elements one output is the mean of; 1 for a maximum or a resize.
    averaged: int = 1
    clip: Clip = NO_CLIP
    name: str = ""


@dataclass(frozen=True)
class Opaque:
    """Anything else: no scale passes."""

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

    def keeps_size(self, source: str, output: str) -> bool:
        """Whether two computed tensors have one shape."""
        return self.shapes[source] == self.shapes[output]

    def matrix(self, step: Weighted) -> NDArray[np.float32]:
        """A step's weights as (O, inputs per output, taps)."""
        moved = self.constants[step.weights].transpose(step.to_matrix)
        return moved.reshape(moved.shape[0], moved.shape[1], -1)


def along(vector: Array, axis: int, rank: int) -> Array:
    """A vector as an array of a rank, along one of its axes."""
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def grouped_reads(rows: int, per_output: int, groups: int) -> NDArray[np.int64]:
    """Which input channel each weight reads: all, one group's, or the one of a depthwise convolution."""
    group_of_row = np.arange(rows) * groups // rows
    return group_of_row[:, None] * per_output + np.arange(per_output)


def product_step(
    network: Network, factors: Sequence[tuple[str, Array | None]], output: str, clip: Clip, name: str
) -> list[Step] | None:
    """Multiplies, or divides (``DIV``), two tensors, given with their values where these are stored.

    None where this does not merely scale the elements of one computed tensor.
    """
    divides = name.upper() == "DIV"
    (left, of_left), (right, values) = factors
    if of_left is not None and not divides:
        left, right, of_left, values = right, left, values, of_left
    if of_left is not None:
        return None
    if values is not None:
        if not network.keeps_size(left, output) or (divides and not values.all()):
            return None
        values = values.astype(np.float32)
        return [Elementwise(left, output, 1.0 / values if divides else values, clip, name)]
    if divides:
        return None
    if np.prod(network.shapes[left]) < np.prod(network.shapes[right]):
        left, right = right, left
    return [Product(left, right, output, clip, name)] if network.keeps_size(left, output) else None


def split_moves(sizes: Sequence[int], axis: int) -> list[Move]:
    """How a tensor is cut into parts of these sizes, one after the other along an axis."""

    def part(start: int, size: int) -> Move:
        return lambda values: np.take(values, np.arange(start, start + size), axis)

    return [part(int(end) - size, size) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]


def zero_padding(widths: Any) -> Move:
    """Padding with 0, which is no element of the source: -1 where the elements are indices."""

    def move(values: Array) -> Array:
        outside = -1 if np.issubdtype(values.dtype, np.integer) else 0
        return np.pad(values, widths, constant_values=outside)

    return move
