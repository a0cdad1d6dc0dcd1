"""Cross-layer equalization: scales the channels so that one int8 step per tensor fits all of them.

The scales minimize the predicted noise power at the outputs: rounding of every activation tensor (one step
for all its channels) plus rounding of every weight (one step per output channel). The float result stays
the same, because what one layer scales up the next one scales down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import Moved, Network, Sum, Weighted, along
from edgepose.host.quantize.repair.noise_gains import noise_gains
from edgepose.host.quantize.repair.scale_classes import ScaleClasses, find_scale_classes
from edgepose.runtime.activation_statistics import ChannelStatistics

Vector = NDArray[np.float64]

_ACTIVATION_STEPS, _WEIGHT_STEPS = 255.0, 127.0
_STEPS, _RATE = 200, 0.06
# Power of the smooth maximum, a power of two: 16 equal channels count as 1.09 times their range.
_SHARPNESS = 32
# Scales beyond this are of no use and only eat float precision.
_LARGEST_LOG_SCALE = float(np.log(1e4))
_TINY = 1e-12


@dataclass(frozen=True)
class Equalization:
    """Scales that were found.

    Attributes:
        scales: float64, one per class of channels.
        classes: The classes.
        predicted_db: By how many decibels the predicted output noise falls.
    """

    scales: Vector
    classes: ScaleClasses
    predicted_db: float


def find_equalization(network: Network, statistics: Mapping[str, ChannelStatistics]) -> Equalization:
    """Finds the scales that a network needs."""
    classes = find_scale_classes(network)
    problem = _Problem(network, classes, statistics)
    scales = _minimize(problem, classes, _bounds(classes, statistics))
    before, after = problem.value(np.zeros(classes.count))[0], problem.value(scales)[0]
    return Equalization(np.exp(scales), classes, float((before - after) * 10.0 / np.log(10.0)))


def equalized_constants(network: Network, found: Equalization) -> dict[str, NDArray[np.float32]]:
    """The constants of the network after scaling; only those that change."""
    changed: dict[str, NDArray[np.float32]] = {}
    for step in network.steps:
        if isinstance(step, Weighted):
            changed.update(_scaled_layer(network, step, found))
        elif isinstance(step, Sum) and step.constant is not None:
            if step.output not in found.classes.of_channel:
                # No scale for each channel, so all its classes are fixed.
                continue
            axis = network.axis_of(step.output)
            constant = network.constants[step.constant]
            vector = found.scales[found.classes.of_channel[step.output]]
            rank = len(network.shapes[step.output])
            factors = along(vector, axis, rank)[(0,) * (rank - constant.ndim)]
            changed[step.constant] = (constant * factors).astype(np.float32)
    return changed


def scaled_statistics(
    statistics: Mapping[str, ChannelStatistics], found: Equalization
) -> dict[str, ChannelStatistics]:
    """What the statistics become, where the images are not at hand to measure them anew.

    The whole tensor's mean extremes cannot be told exactly from its channels'; the widest channel's stand in.
    """
    scaled = dict(statistics)
    for name, ids in found.classes.of_channel.items():
        known = statistics.get(name)
        if known is None or len(known.low) != len(ids):
            continue
        scale = found.scales[ids]
        low, high = known.low * scale, known.high * scale
        scaled[name] = replace(
            known,
            low=low,
            high=high,
            lowest=known.lowest * scale,
            highest=known.highest * scale,
            mean=known.mean * scale,
            mean_square=known.mean_square * scale**2,
            whole_low=low.min(keepdims=True),
            whole_high=high.max(keepdims=True),
        )
    return scaled


def _scaled_layer(network: Network, step: Weighted, found: Equalization) -> dict[str, NDArray[np.float32]]:
    before, after = (found.scales[ids] for ids in _ends(step, found.classes))
    stored = network.constants[step.weights].astype(np.float64)
    moved = stored.transpose(step.to_matrix)
    rank = (1,) * (moved.ndim - 2)
    scaled = moved * after.reshape(-1, 1, *rank) / before[step.reads].reshape(*step.reads.shape, *rank)
    changed = {step.weights: step.in_file_layout(scaled)}
    if step.bias is not None:
        changed[step.bias] = (network.constants[step.bias] * after).astype(np.float32)
    return changed


def _ends(step: Weighted, classes: ScaleClasses) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return classes.of_channel[step.source], classes.of_channel[step.output]


def _bounds(classes: ScaleClasses, statistics: Mapping[str, ChannelStatistics]) -> tuple[Vector, Vector]:
    """A clip (ReLU6) bounds the scale: what it did not cut in calibration it must not cut afterwards.

    A channel that the clip does cut keeps its scale.
    """
    upper = np.full(classes.count, _LARGEST_LOG_SCALE)
    lower = -upper
    for name, clip in classes.clipped:
        ids, known = classes.of_channel.get(name), statistics.get(name)
        if ids is None:
            # Its classes are fixed.
            continue
        if known is None:
            lower[ids] = upper[ids] = 0.0
            continue
        room = np.full(len(ids), _LARGEST_LOG_SCALE)
        floor = -room
        for limit, reached in ((clip.high, known.highest), (clip.low and -clip.low, -known.lowest)):
            if limit:
                inside = reached < limit * (1.0 - 1e-4)
                room = np.minimum(room, np.where(inside, np.log(limit / np.maximum(reached, _TINY)), 0.0))
                # Scaled down, a value that was cut would be cut no more.
                floor = np.where(inside, floor, 0.0)
        np.minimum.at(upper, ids, room)
        np.maximum.at(lower, ids, floor)
    return lower, upper


@dataclass(frozen=True)
class _Groups:
    """Consecutive entries that belong together: where each group starts, and the group of each entry."""

    starts: NDArray[np.int64]
    of: NDArray[np.int64]

    @classmethod
    def of_sizes(cls, sizes: list[int]) -> _Groups:
        counts = np.array(sizes, np.int64)
        return cls(np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), counts))


@dataclass(frozen=True)
class _Activations:
    """Channels of all rounded tensors, one tensor after the other."""

    groups: _Groups
    ids: NDArray[np.int64]
    high: Vector
    low: Vector
    gains: Vector


@dataclass(frozen=True)
class _Weights:
    """Weights of all layers, one output channel after the other; the taps are summed up already."""

    groups: _Groups
    ids: NDArray[np.int64]
    largest: Vector
    power: Vector
    gains: Vector


class _Problem:
    """The predicted noise power as a function of the log-scales, with its gradient."""

    def __init__(
        self, network: Network, classes: ScaleClasses, statistics: Mapping[str, ChannelStatistics]
    ) -> None:
        gains = noise_gains(network, statistics)
        self._activations = _activations(network, classes, statistics, gains)
        self._weights = _weights(network, classes, statistics, gains)
        self._count = classes.count

    def value(self, logs: Vector) -> tuple[float, Vector]:
        """Logarithm of the noise power, and its gradient."""
        noise_a, gradient_a = self._of_activations(logs)
        noise_w, gradient_w = self._of_weights(logs)
        total = noise_a + noise_w + _TINY * _TINY
        return float(np.log(total)), (gradient_a + gradient_w) / total

    def _of_activations(self, logs: Vector) -> tuple[float, Vector]:
        a, of = self._activations, self._activations.groups.of
        scale = np.exp(logs[a.ids])
        high, high_share = _smooth_maximum(a.high * scale, a.groups)
        low, low_share = _smooth_maximum(a.low * scale, a.groups)
        step = (high + low) / _ACTIVATION_STEPS
        arrives = a.gains / scale**2
        spread = np.add.reduceat(arrives, a.groups.starts)
        noise = step**2 / 12.0 * spread
        # d log(high) / d log-scale of a channel is that channel's share of the smooth maximum.
        slope = (high[of] * high_share + low[of] * low_share) / _ACTIVATION_STEPS
        each = (step * spread)[of] * slope / 6.0 - (step**2)[of] * arrives / 6.0
        return float(noise.sum()), np.bincount(a.ids, each, self._count).astype(np.float64)

    def _of_weights(self, logs: Vector) -> tuple[float, Vector]:
        w, of = self._weights, self._weights.groups.of
        scale = np.exp(logs)[w.ids]
        largest, share = _smooth_maximum(w.largest / scale, w.groups)
        power = w.gains * (largest / _WEIGHT_STEPS) ** 2 / 12.0
        met = w.power * scale * scale
        noise = power * np.add.reduceat(met, w.groups.starts)
        each = 2.0 * (power[of] * met - noise[of] * share)
        return float(noise.sum()), np.bincount(w.ids, each, self._count).astype(np.float64)


def _activations(
    network: Network,
    classes: ScaleClasses,
    statistics: Mapping[str, ChannelStatistics],
    gains: Mapping[str, Vector],
) -> _Activations:
    rounded = [
        name
        for name in _rounded_tensors(network)
        if name in statistics and name in gains and name in classes.of_channel
    ]
    return _Activations(
        groups=_Groups.of_sizes([len(classes.of_channel[name]) for name in rounded]),
        ids=_joined_ids([classes.of_channel[name] for name in rounded]),
        high=_joined([np.maximum(statistics[name].high, 0.0) for name in rounded]),
        low=_joined([np.maximum(-statistics[name].low, 0.0) for name in rounded]),
        gains=_joined([gains[name] for name in rounded]),
    )


def _rounded_tensors(network: Network) -> list[str]:
    """What is rounded anew: all but what only moves one tensor's values."""
    moved = {step.output for step in network.steps if isinstance(step, Moved) and len(step.sources) == 1}
    return [name for name in network.shapes if name not in moved]


def _weights(
    network: Network,
    classes: ScaleClasses,
    statistics: Mapping[str, ChannelStatistics],
    gains: Mapping[str, Vector],
) -> _Weights:
    ids: list[NDArray[np.int64]] = []
    largest: list[Vector] = []
    power: list[Vector] = []
    row_gains: list[Vector] = []
    sizes: list[int] = []
    for step in network.steps:
        if not isinstance(step, Weighted) or step.output not in gains or step.source not in statistics:
            continue
        before, _ = _ends(step, classes)
        matrix = np.abs(network.matrix(step).astype(np.float64))
        rows, columns, taps = matrix.shape
        sizes += [columns] * rows
        ids.append(before[step.reads].reshape(-1))
        largest.append(matrix.max(axis=2).reshape(-1))
        power.append((statistics[step.source].mean_square[step.reads] * taps).reshape(-1))
        row_gains.append(gains[step.output])
    groups = _Groups.of_sizes(sizes)
    return _Weights(groups, _joined_ids(ids), _joined(largest), _joined(power), _joined(row_gains))


def _joined(parts: Sequence[Vector]) -> Vector:
    return np.concatenate(parts) if parts else np.zeros(0)


def _joined_ids(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _smooth_maximum(values: Vector, groups: _Groups) -> tuple[Vector, Vector]:
    """The power mean's limit per group, and each value's share in its derivative."""
    top = np.maximum(np.maximum.reduceat(values, groups.starts), _TINY)
    relative = values / top[groups.of]
    for _ in range(_SHARPNESS.bit_length() - 1):
        relative *= relative
    total = np.maximum(np.add.reduceat(relative, groups.starts), _TINY)
    return top * total ** (1.0 / _SHARPNESS), relative / total[groups.of]


def _minimize(problem: _Problem, classes: ScaleClasses, bounds: tuple[Vector, Vector]) -> Vector:
    """Adam (Kingma and Ba, 2015) with a falling rate; fixed classes stay at 0."""
    logs = np.zeros(classes.count)
    first, second = np.zeros_like(logs), np.zeros_like(logs)
    best, best_value = logs, np.inf
    for step in range(1, _STEPS + 1):
        value, gradient = problem.value(logs)
        if value < best_value:
            best, best_value = logs, value
        gradient = np.where(classes.fixed, 0.0, gradient)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = _RATE * 0.5 * (1.0 + np.cos(np.pi * step / _STEPS))
        moved = first / (1.0 - 0.9**step) / (np.sqrt(second / (1.0 - 0.999**step)) + 1e-12)
        logs = np.clip(logs - rate * moved, *bounds)
    return best
