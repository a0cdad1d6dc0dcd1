"""Where the quantized model leaves its float parent: the error of every tensor that both have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import RepresentativeInputs
from edgepose.records.quantization import TensorError
from edgepose.runtime.activation_statistics import open_tensors
from edgepose.runtime.backend import Backend

# Under this many of a tensor's 256 steps a channel is little more than noise.
_STARVED_STEPS = 8
_STEPS = 256


@dataclass
class _Statistics:
    """What is summed up about one tensor."""

    op: str
    signal: float = 0.0
    noise: float = 0.0
    channel_low: NDArray[np.float32] | None = None
    channel_high: NDArray[np.float32] | None = None

    def add(self, reference: NDArray[np.float32], other: NDArray[np.float32], channel_axis: int) -> None:
        exact = reference.astype(np.float64)
        self.signal += float(np.square(exact).sum())
        self.noise += float(np.square(exact - other).sum())
        low, high = _channel_ranges(reference, channel_axis)
        self.channel_low = low if self.channel_low is None else np.minimum(low, self.channel_low)
        self.channel_high = high if self.channel_high is None else np.maximum(high, self.channel_high)


def measure_tensor_errors(
    parent: Path, quantized: Path, inputs: RepresentativeInputs, quantized_backend: Backend, crops: int
) -> tuple[TensorError, ...]:
    """Runs both models on a few crops and compares every tensor that both compute.

    Returns:
        Worst signal to noise first.

    Raises:
        ModelError: A model cannot be run tensor by tensor.
    """
    reference, other = open_tensors(parent), open_tensors(quantized)
    tensor = quantized_backend.input
    found: dict[str, _Statistics] = {}
    for values in inputs.first(crops):
        reference.run(values)
        # The parent takes real values; an integer input takes the same values in its own steps.
        other.run(tensor.quantize(values) if tensor.scale else values.astype(tensor.dtype))
        for name in sorted(set(reference.names()) & set(other.names())):
            expected, actual = reference.tensor(name), other.tensor(name)
            if actual.shape == expected.shape:
                statistics = found.setdefault(name, _Statistics(reference.op_of(name)))
                statistics.add(expected, actual, reference.channel_axis)
    errors = [_error(name, statistics) for name, statistics in found.items()]
    return tuple(sorted(errors, key=lambda e: (math.inf if e.sqnr_db is None else e.sqnr_db, e.name)))


def worst_tensors_text(errors: Sequence[TensorError], most: int = 5) -> str:
    """The tensors that lose most, in a sentence; empty where none was compared."""
    worst = [error for error in errors if error.sqnr_db is not None][:most]
    listed = "; ".join(f"{error.name} ({error.sqnr_db:.1f} dB)" for error in worst)
    return f"Worst tensors by signal to quantization noise: {listed}." if worst else ""


def _channel_ranges(
    values: NDArray[np.float32], channel_axis: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest value per channel; one channel where the tensor is no feature map."""
    if values.ndim != 4:
        return values.min().reshape(1), values.max().reshape(1)
    others = tuple(axis for axis in range(4) if axis != channel_axis % 4)
    return values.min(axis=others), values.max(axis=others)


def _error(name: str, statistics: _Statistics) -> TensorError:
    low, high = statistics.channel_low, statistics.channel_high
    if low is None or high is None:
        raise AssertionError(f"no values were added for {name}")
    ranges = high.astype(np.float64) - low
    # Zero is always representable, so a tensor's range includes it.
    whole = max(float(high.max()), 0.0) - min(float(low.min()), 0.0)
    median = float(np.median(ranges))
    return TensorError(
        name=name,
        op=statistics.op,
        sqnr_db=_decibels(statistics.signal, statistics.noise),
        relative_error=math.sqrt(statistics.noise / statistics.signal) if statistics.signal else None,
        range_low=float(low.min()),
        range_high=float(high.max()),
        channel_range_ratio=float(ranges.max()) / median if len(ranges) > 1 and median > 0 else None,
        starved_channels=int((ranges < whole * _STARVED_STEPS / _STEPS).sum()) if len(ranges) > 1 else 0,
    )


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0.0:
        return None
    # No signal at all and yet noise: as bad as it gets, and still a number for JSON.
    return 10.0 * math.log10(max(signal, 1e-30) / noise)
