"""Between the statistics in memory and the record that leaves a device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgepose.inference.activation_statistics import ChannelStatistics, Vector
from edgepose.spec.activation_ranges import ActivationRanges, TensorRanges


def to_tensor_ranges(statistics: Mapping[str, ChannelStatistics]) -> tuple[TensorRanges, ...]:
    """The figures of every tensor as plain numbers, bit by bit the same.

    Raises:
        ValueError: A figure is not finite.
    """
    return tuple(
        TensorRanges(
            name=name,
            low=_plain(of.low),
            high=_plain(of.high),
            lowest=_plain(of.lowest),
            highest=_plain(of.highest),
            mean=_plain(of.mean),
            mean_square=_plain(of.mean_square),
            active=_plain(of.active),
            whole_low=float(of.whole_low[0]),
            whole_high=float(of.whole_high[0]),
        )
        for name, of in statistics.items()
    )


def to_statistics(record: ActivationRanges) -> dict[str, ChannelStatistics]:
    """The same figures as arrays, bit by bit the same."""
    return {
        tensor.name: ChannelStatistics(
            low=np.array(tensor.low),
            high=np.array(tensor.high),
            lowest=np.array(tensor.lowest),
            highest=np.array(tensor.highest),
            mean=np.array(tensor.mean),
            mean_square=np.array(tensor.mean_square),
            active=np.array(tensor.active),
            whole_low=np.array([tensor.whole_low]),
            whole_high=np.array([tensor.whole_high]),
            crops=record.crops,
        )
        for tensor in record.tensors
    }


def _plain(vector: Vector) -> tuple[float, ...]:
    return tuple(vector.tolist())
