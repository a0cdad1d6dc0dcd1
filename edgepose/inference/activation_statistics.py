"""What the activations of a float model look like on calibration crops, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class RunsAndKeeps(Protocol):
    """A model that keeps its intermediate tensors."""

    def run(self, values: NDArray[Any]) -> None:
        """Runs the model on stored input values."""
        ...

    def names(self) -> list[str]:
        """Names of the float tensors of the last run."""
        ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """One tensor of the last run."""
        ...


@dataclass(eq=False)
class ChannelStatistics:
    """One tensor over all crops; every array is float64 (C,).

    Attributes:
        low: Mean over the crops of each crop's smallest value.
        high: Mean over the crops of each crop's greatest value.
        lowest: Smallest value of all crops.
        highest: Greatest value of all crops.
        mean: Mean value.
        mean_square: Mean of the squared values.
        active: Share of values above 0.
    """

    low: Vector
    high: Vector
    lowest: Vector
    highest: Vector
    mean: Vector
    mean_square: Vector
    active: Vector
    crops: int = 1

    def add(self, other: ChannelStatistics) -> None:
        """Takes the statistics of one more crop in."""
        self.crops += 1
        share = 1.0 / self.crops
        for name in ("low", "high", "mean", "mean_square", "active"):
            known = getattr(self, name)
            setattr(self, name, known + (getattr(other, name) - known) * share)
        self.lowest = np.minimum(self.lowest, other.lowest)
        self.highest = np.maximum(self.highest, other.highest)


def channel_statistics(values: NDArray[np.float32], axis: int) -> ChannelStatistics:
    """Statistics of one tensor of one crop, per channel along ``axis``."""
    rows = values.reshape(-1, values.shape[-1]) if axis == values.ndim - 1 else _rows(values, axis)
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    return ChannelStatistics(
        low=low,
        high=high,
        lowest=low,
        highest=high,
        mean=rows.mean(axis=0, dtype=np.float64),
        mean_square=np.einsum("nc,nc->c", rows, rows).astype(np.float64) / len(rows),
        active=np.count_nonzero(rows > 0, axis=0) / len(rows),
    )


def collect_statistics(
    model: RunsAndKeeps,
    inputs: Iterable[NDArray[Any]],
    axis_of: Callable[[str], int],
    input_name: str,
) -> dict[str, ChannelStatistics]:
    """Runs a model on every input.

    Args:
        model: The float model.
        inputs: Its input tensors.
        axis_of: Channel axis of a tensor.
        input_name: The name under which the input itself is looked at.
    """
    found: dict[str, ChannelStatistics] = {}
    for values in inputs:
        model.run(values)
        _take(found, input_name, channel_statistics(values.astype(np.float32), axis_of(input_name)))
        for name in model.names():
            _take(found, name, channel_statistics(model.tensor(name), axis_of(name)))
    return found


def _take(found: dict[str, ChannelStatistics], name: str, new: ChannelStatistics) -> None:
    if name in found:
        found[name].add(new)
    else:
        found[name] = new


def _rows(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    if values.ndim == 0:
        return values.reshape(1, 1)
    moved = np.moveaxis(values, axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
