"""Layers whose weights carry much of the signal in few of their steps.

An input channel that reaches a thousand times further than its neighbours has weights a thousand times
smaller, and all weights of an output channel share one scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgepose.host.quantize.diagnosis.layers import Layer, Statistics
from edgepose.host.quantize.repair.network import Network, Weighted

# int8 weights are symmetric.
_WEIGHT_STEPS = 127
_STARVED_STEPS = 8
# This share of the signal through starved weights is worth naming.
_MUCH = 0.1


def starved_weights(network: Network, layers: Iterable[Layer], statistics: Statistics) -> Mapping[str, str]:
    """What is wrong with the weights of layers.

    Args:
        network: The float network.
        layers: Of it.
        statistics: Of its tensors.

    Returns:
        In words by the tensor that the layer writes, the greatest share of starved signal first.
    """
    found: dict[str, tuple[float, str]] = {}
    for layer in layers:
        step = layer.weighted
        note = None if step is None else _note(network, step, statistics)
        if note is not None:
            found[layer.tensor] = note
    return {name: words for name, (_, words) in sorted(found.items(), key=lambda item: -item[1][0])}


def _note(network: Network, step: Weighted, statistics: Statistics) -> tuple[float, str] | None:
    """Signals of different weights are taken as independent, so that their powers add up."""
    known = statistics.get(step.source)
    if known is None or len(known.mean_square) <= int(step.reads.max()):
        return None
    weights = network.matrix(step).astype(np.float64)
    largest = np.abs(weights).max(axis=2)
    whole = np.maximum(largest.max(axis=1, keepdims=True), 1e-30)
    power = np.square(weights).sum(axis=2) * known.mean_square[step.reads]
    starved = (largest / whole * _WEIGHT_STEPS < _STARVED_STEPS) & (power > 0)
    share = float(power[starved].sum() / max(power.sum(), 1e-30))
    if share < _MUCH:
        return None
    channel_power = np.bincount(step.reads[starved], power[starved])
    words = (
        f"{share:.0%} of its signal comes through weights with under {_STARVED_STEPS} of {_WEIGHT_STEPS} "
        f"steps, most of it from input channel {int(channel_power.argmax())} of '{step.source}'"
    )
    return share, words
