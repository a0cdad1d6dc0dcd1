"""Which parts of a network may stay in float, and what each part costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.host.quantize.repair.network import (
    Carried,
    Elementwise,
    Network,
    Step,
    Sum,
    Weighted,
    outputs_of,
    sources_of,
)
from edgepose.inference.activation_statistics import ChannelStatistics

# Above this ratio of ranges the narrower part has under 32 of 256 steps left.
_UNLIKE = 8.0
_PREFIXES, _SUFFIXES, _CULPRITS = (8, 32, 64), (2, 4, 16), (1, 4, 16)
# The front's rounding is amplified by all that follows, the worst tensors' reaches the outputs as it is.
_PREFIXES_WITH_LOUDEST, _LOUDEST = (8, 32, 64), 16


@dataclass(frozen=True)
class Region:
    """A part of a network.

    Attributes:
        name: In words.
        tensors: Outputs of its steps.
        share: Its share of all multiplications with weights, 0 to 1.
    """

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
        if not wanted.intersection(outputs_of(step)) or not isinstance(step, Carried | Elementwise | Sum):
            continue
        if isinstance(step, Sum) and step.constant is None and len(step.sources) > 1:
            continue
        found.append(step.output)
        wanted.update(sources_of(step))
        unlike |= isinstance(step, Carried) and _is_unlike(step, statistics)
    return Region("the unlike outputs' joint", tuple(reversed(found)), 0.0) if unlike else None


def _is_unlike(step: Carried, statistics: Mapping[str, ChannelStatistics]) -> bool:
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
