"""How much noise in a channel matters at the outputs.

White noise of variance v on every element of a channel arrives at the outputs as a noise power of about
``gain * v``. Gains are carried backwards through the steps as if the noise of different elements were
independent: a weighted step passes the squares of its weights, ReLU the share of its active values. It is
the diagonal of what back-propagation would give, without a training framework and within a second.
It also says which parts of a network are worth leaving in float, and what each part costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import (
    Clip,
    Elementwise,
    Moved,
    Network,
    Opaque,
    Product,
    Step,
    Sum,
    Weighted,
    Window,
    along,
    outputs_of,
    sources_of,
)
from edgepose.runtime.activation_statistics import ChannelStatistics

Gains = NDArray[np.float64]
_TINY = 1e-30


def noise_gains(network: Network, statistics: Mapping[str, ChannelStatistics]) -> dict[str, Gains]:
    """Gain of every channel of every tensor.

    Returns:
        Per tensor float64 (C,): output noise power per unit of variance on the elements of the channel.
    """
    walk = _Backwards(network, statistics)
    for step in reversed(network.steps):
        walk.pass_through(step)
    return {name: walk.per_channel(name) for name in network.shapes if name in walk.gains}


class _Backwards:
    """Per-element gains, from the outputs to the inputs."""

    def __init__(self, network: Network, statistics: Mapping[str, ChannelStatistics]) -> None:
        self._network, self._statistics = network, statistics
        self.gains: dict[str, Gains] = {}
        for name in network.outputs:
            # Outputs of unlike size count by their relative error.
            power = float(statistics[name].mean_square.mean()) if name in statistics else 1.0
            shape = network.shapes[name]
            self.gains[name] = np.full(shape, 1.0 / (max(power, _TINY) * np.prod(shape)))

    def per_channel(self, name: str) -> Gains:
        """Sums the gains of a channel's elements."""
        gains = self.gains[name]
        if gains.ndim == 0:
            return gains.reshape(1)
        axis = self._network.axis_of(name)
        return np.asarray(gains.sum(axis=tuple(i for i in range(gains.ndim) if i != axis)))

    def _add(self, name: str, gains: Gains) -> None:
        known = self.gains.get(name)
        self.gains[name] = gains if known is None else known + gains

    def pass_through(self, step: Step) -> None:
        """Carries the gains of a step's outputs to its sources."""
        outputs = [name for name in outputs_of(step) if name in self.gains]
        if not outputs:
            return
        if isinstance(step, Opaque):
            self._opaque(step, outputs)
            return
        after = self.gains[step.output] * self._active(step.output, step.clip)
        match step:
            case Weighted():
                self._weighted(step, after)
            case Moved():
                self._carried(step, after)
            case Elementwise():
                self._add(step.source, after * np.square(step.factor.astype(np.float64)))
            case Sum():
                for name in step.sources:
                    self._add(name, _reduced(after, self._network.shapes[name]))
            case Product():
                self._product(step, after)
            case Window():
                self._window(step, after)

    def _active(self, name: str, clip: Clip) -> NDArray[np.float64] | float:
        if clip.low is None or name not in self._statistics:
            return 1.0
        return self._along(name, self._statistics[name].active)

    def _along(self, name: str, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """A vector along a tensor's channels."""
        shape = self._network.shapes[name]
        return along(vector, self._network.axis_of(name), len(shape)) if shape else vector

    def _weighted(self, step: Weighted, after: Gains) -> None:
        before_axis, after_axis = step.channel_axes
        shape = self._network.shapes[step.source]
        power = np.square(self._network.matrix(step).astype(np.float64)).sum(axis=2)
        rows = np.moveaxis(after, after_axis, 0).reshape(power.shape[0], -1).mean(axis=1)
        channels = np.zeros(shape[before_axis])
        np.add.at(channels, step.reads, power * rows[:, None])
        # Every output place has all taps; a place of the input meets them in proportion to the sizes.
        places = np.prod(shape) / shape[before_axis]
        hits = 1.0 if step.spreads else after.size / after.shape[after_axis] / places
        self._add(step.source, np.broadcast_to(along(channels, before_axis, len(shape)) * hits, shape))

    def _carried(self, step: Moved, after: Gains) -> None:
        sizes = [int(np.prod(self._network.shapes[name])) for name in step.sources]
        starts = np.cumsum([0, *sizes])
        numbers = [
            np.arange(start, start + size).reshape(self._network.shapes[name])
            for start, size, name in zip(starts[:-1], sizes, step.sources, strict=True)
        ]
        where = step.move(*numbers).reshape(-1)
        inside = where >= 0
        flat = np.broadcast_to(after, self._network.shapes[step.output]).reshape(-1)
        total = np.bincount(where[inside], flat[inside], int(starts[-1])).astype(np.float64)
        for name, start, size in zip(step.sources, starts[:-1], sizes, strict=True):
            self._add(name, total[start : start + size].reshape(self._network.shapes[name]))

    def _product(self, step: Product, after: Gains) -> None:
        for name, other in ((step.source, step.gate), (step.gate, step.source)):
            power = self._mean_square(other)
            self._add(name, _reduced(after * power, self._network.shapes[name]))

    def _mean_square(self, name: str) -> NDArray[np.float64] | float:
        known = self._statistics.get(name)
        return 1.0 if known is None else self._along(name, known.mean_square)

    def _window(self, step: Window, after: Gains) -> None:
        before_axis, after_axis = (axis % after.ndim for axis in step.channel_axes)
        shape = self._network.shapes[step.source]
        others = tuple(i for i in range(after.ndim) if i != after_axis)
        total = after.sum(axis=others)
        places = np.prod(shape) / shape[before_axis]
        each = along(total / places / step.averaged, before_axis, len(shape))
        self._add(step.source, np.broadcast_to(each, shape))

    def _opaque(self, step: Opaque, outputs: list[str]) -> None:
        """Without knowing the op: relative noise passes as it is."""
        weight = sum(float(self.gains[name].sum()) * self._power(name) for name in outputs)
        for name in step.sources:
            size = int(np.prod(self._network.shapes[name])) or 1
            share = weight / max(self._power(name), _TINY) / size
            self._add(name, np.full(self._network.shapes[name], share))

    def _power(self, name: str) -> float:
        known = self._statistics.get(name)
        return 1.0 if known is None else float(known.mean_square.mean())


def _reduced(gains: Gains, shape: tuple[int, ...]) -> Gains:
    """Sums over what was broadcast."""
    extra = gains.ndim - len(shape)
    summed = gains.sum(axis=tuple(range(extra))) if extra else gains
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and summed.shape[i] != 1)
    return summed.sum(axis=axes, keepdims=True) if axes else summed


# Above this ratio of ranges the narrower part has under 32 of 256 steps left.
_UNLIKE = 8.0
_PREFIXES, _SUFFIXES, _CULPRITS = (8, 32, 64), (2, 4, 16), (1, 4, 16)
# The front's rounding is amplified by all that follows, the worst tensors' reaches the outputs as it is.
_PREFIXES_WITH_LOUDEST, _LOUDEST = (8, 32, 64), 16


@dataclass(frozen=True)
class Region:
    """Outputs of a part of a network, and its share of all multiplications with weights, 0 to 1."""

    name: str
    tensors: tuple[str, ...]
    share: float


def unlike_head(network: Network, statistics: Mapping[str, ChannelStatistics]) -> Region | None:
    """What joins outputs of unlike ranges (boxes and scores) at the end, and the arithmetic around it.

    It has no weights. Left in float, each branch keeps a scale of its own. None where nothing is unlike.
    """
    wanted = set(network.outputs)
    found: list[str] = []
    unlike = False
    for step in reversed(network.steps):
        if not wanted.intersection(outputs_of(step)) or not isinstance(step, Moved | Elementwise | Sum):
            continue
        if isinstance(step, Sum) and step.constant is None and len(step.sources) > 1:
            continue
        found.append(step.output)
        wanted.update(sources_of(step))
        unlike |= isinstance(step, Moved) and _is_unlike(step, statistics)
    return Region("the unlike outputs' joint", tuple(reversed(found)), 0.0) if unlike else None


def _is_unlike(step: Moved, statistics: Mapping[str, ChannelStatistics]) -> bool:
    reaches = [
        max(float(statistics[name].highest.max()), -float(statistics[name].lowest.min()))
        for name in step.sources
        if name in statistics
    ]
    reaches = [reach for reach in reaches if reach > 0]
    return len(reaches) > 1 and max(reaches) > _UNLIKE * min(reaches)


def float_regions(
    network: Network, noisiest: Sequence[str], loudest: Sequence[str], largest_share: float
) -> list[Region]:
    """Parts worth trying in float, cheapest first: the front, the end, what surrounds the worst tensors.

    Args:
        network: The network.
        noisiest: Tensors by their own rounding noise against their signal, worst first.
        loudest: Tensors by the noise that their rounding adds to the outputs, worst first.
        largest_share: Parts with a larger share of the multiplications are left out.
    """
    costs = [_multiplications(network, step) for step in network.steps]
    total = sum(costs) or 1.0
    count = len(network.steps)
    named: dict[str, set[int]] = {
        **{f"the first {n} ops": set(range(n)) for n in _PREFIXES if n < count},
        **{f"the last {n} ops": set(range(count - n, count)) for n in _SUFFIXES if n < count},
        # They filter each channel for itself, mostly for edges: little signal, all of the rounding.
        "the depthwise convolutions": {i for i, step in enumerate(network.steps) if _is_depthwise(step)},
    }
    named |= _around_worst(network, noisiest, "noisiest tensors")
    named |= _around_worst(network, loudest, "tensors with most noise at the outputs")
    named |= _fronts_and_loudest(network, loudest)
    regions = [
        Region(
            name,
            tuple(tensor for i in sorted(steps) for tensor in outputs_of(network.steps[i])),
            sum(costs[i] for i in steps) / total,
        )
        for name, steps in named.items()
        if steps
    ]
    fitting = [region for region in regions if region.share <= largest_share]
    return sorted(fitting, key=lambda region: (region.share, len(region.tensors)))


def _around_worst(network: Network, ranked: Sequence[str], kind: str) -> dict[str, set[int]]:
    return {
        f"the ops around the {n} {kind}": _around(network, set(ranked[:n]))
        for n in _CULPRITS
        if len(ranked) >= n
    }


def _fronts_and_loudest(network: Network, loudest: Sequence[str]) -> dict[str, set[int]]:
    if len(loudest) < _LOUDEST:
        return {}
    worst = _around(network, set(loudest[:_LOUDEST]))
    return {
        f"the first {n} ops and those around the {_LOUDEST} tensors with most noise at the outputs": worst
        | set(range(n))
        for n in _PREFIXES_WITH_LOUDEST
        if n < len(network.steps)
    }


def _around(network: Network, tensors: set[str]) -> set[int]:
    """A tensor is unrounded only when what writes it and all that read it are in float."""
    return {
        i
        for i, step in enumerate(network.steps)
        if tensors.intersection(outputs_of(step)) or tensors.intersection(sources_of(step))
    }


def _is_depthwise(step: Step) -> bool:
    return isinstance(step, Weighted) and step.reads.shape[1] == 1 and len(step.reads) > 1


def _multiplications(network: Network, step: Step) -> float:
    if not isinstance(step, Weighted):
        return 0.0
    # A transposed convolution uses every weight once per place of its input, any other one of its output.
    end, axis = (step.source, 0) if step.spreads else (step.output, 1)
    shape = network.shapes[end]
    places = np.prod(shape) / shape[step.channel_axes[axis]]
    return float(network.constants[step.weights].size * places)
