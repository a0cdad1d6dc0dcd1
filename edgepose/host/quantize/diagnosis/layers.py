"""The layers that int8 rounds, what int8 leaves of each, and which of them to measure first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import Carried, Network, Step, Weighted, outputs_of
from edgepose.host.quantize.repair.noise_gains import noise_gains
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.inference.activation_statistics import ChannelStatistics

STEPS = 256
INPUT_OP = "input"
Statistics = Mapping[str, ChannelStatistics]


@dataclass(frozen=True, eq=False)
class Layer:
    """A tensor that int8 rounds anew, and the step that writes it.

    Attributes:
        tensor: The tensor.
        op: Name of the op that writes it; ``input`` where it is the model's input.
        step: The step; None for the input.
    """

    tensor: str
    op: str
    step: Step | None = None

    @property
    def weighted(self) -> Weighted | None:
        """The step, where it has stored weights."""
        return self.step if isinstance(self.step, Weighted) else None


def layers_of(network: Network, ranges: TensorRanges) -> tuple[Layer, ...]:
    """All layers in the order in which they run.

    What an op only moves keeps its scale and is no layer, except where several tensors are joined under one.

    Args:
        network: The float network.
        ranges: Of its float tensors; what has none is not rounded.
    """
    found = {name: Layer(name, INPUT_OP) for name in network.inputs if name in ranges}
    behind = _carried_on(network)
    for step in network.steps:
        if isinstance(step, Carried) and len(step.sources) == 1:
            continue
        for output in outputs_of(step):
            tensor: str | None = output
            # Between the steps of one op lie tensors that no file has.
            while tensor is not None and tensor not in ranges:
                tensor = behind.get(tensor)
            if tensor is not None:
                found.setdefault(tensor, Layer(tensor, step.name, step))
    return tuple(found.values())


def _carried_on(network: Network) -> dict[str, str]:
    return {
        step.sources[0]: step.output
        for step in network.steps
        if isinstance(step, Carried) and len(step.sources) == 1
    }


def span_of(low: float, high: float) -> float:
    """Width of a range with 0 in it, as every scale must have it."""
    return max(high, 0.0) - min(low, 0.0)


def channel_spans(known: ChannelStatistics) -> NDArray[np.float64]:
    """Width of each channel's range over all crops with 0 in it, float64 (C,)."""
    return np.asarray(np.maximum(known.highest, 0.0) - np.minimum(known.lowest, 0.0))


def live_channels(known: ChannelStatistics) -> NDArray[np.bool_]:
    """Channels that are not 0 everywhere, bool (C,)."""
    return np.asarray(channel_spans(known) > 0)


def rounding_noise(low: float, high: float) -> float:
    """Variance of the rounding error: a uniform error of one step has a twelfth of its square."""
    return (span_of(low, high) / (STEPS - 1)) ** 2 / 12.0


def choose_layers(
    network: Network, statistics: Statistics, ranges: TensorRanges, most: int, first: Sequence[str] = ()
) -> tuple[str, ...]:
    """The layers most likely to matter, at most ``most``: worth measuring when all would take too long.

    Those of ``first`` come first (at most half), then in turn the one with the greatest predicted share of
    the outputs' noise and the one whose median channel keeps the least signal over its own rounding.

    Args:
        network: The float network.
        statistics: Of its tensors.
        ranges: Of its tensors.
        most: How many.
        first: Tensors under suspicion already, the worst first.

    Returns:
        Names in the order of the suspicion; all layers where there are no more than ``most``.
    """
    names = [layer.tensor for layer in layers_of(network, ranges)]
    if len(names) <= most:
        return tuple(names)
    gains = noise_gains(network, statistics)
    noise = {name: rounding_noise(*ranges[name]) for name in names}
    share = {name: noise[name] * float(gains[name].sum()) if name in gains else 0.0 for name in names}
    kept = {name: _median_power(statistics.get(name)) / max(noise[name], 1e-30) for name in names}
    by_share = sorted(names, key=lambda name: -share[name])
    by_signal = sorted(names, key=lambda name: kept[name])
    taken = [name for name in first if name in share][: most // 2]
    in_turn = [name for pair in zip(by_share, by_signal, strict=True) for name in pair]
    return tuple(dict.fromkeys((*taken, *in_turn)))[:most]


def _median_power(known: ChannelStatistics | None) -> float:
    """Mean square of the median live channel; an outlier channel would hide the others in the mean."""
    if known is None or not live_channels(known).any():
        return float("inf")
    return float(np.median(known.mean_square[live_channels(known)]))


def writers(network: Network) -> dict[str, Step]:
    """Which step writes a tensor."""
    return {name: step for step in network.steps for name in outputs_of(step)}
