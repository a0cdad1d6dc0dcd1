"""The whole diagnosis of one float model: suspects from the ranges, measured on the task, put in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.audit import AuditedOp
from edgepose.host.quantize.diagnosis.fake_quantization import open_roundable
from edgepose.host.quantize.diagnosis.findings import find_culprits, find_suspects, starved_weights
from edgepose.host.quantize.diagnosis.layers import (
    STEPS,
    Layer,
    Statistics,
    Subject,
    layers_of,
    live_channels,
    span_of,
)
from edgepose.host.quantize.diagnosis.sensitivity import Progress, measure_sensitivity
from edgepose.host.quantize.recipe_choice import Diagnosis
from edgepose.host.quantize.repair.network import Network, Weighted
from edgepose.host.quantize.repair.noise_gains import Gains, noise_gains
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.records.quantization import Culprit, LayerSensitivity
from edgepose.runtime.activation_statistics import ChannelStatistics

_TINY = 1e-30
# int8 weights are symmetric: 127 steps to each side.
_WEIGHT_STEPS = 127


def choose_layers(
    network: Network, statistics: Statistics, ranges: TensorRanges, most: int, first: Sequence[str] = ()
) -> tuple[str, ...]:
    """The layers most likely to matter, at most ``most``.

    Those of ``first`` come first (at most half), then in turn the one with the greatest predicted share of
    the outputs' noise and the one whose median channel keeps the least signal over its own rounding. On
    TinyPose-256 seven of the eight layers of greatest share are among the 15 (of 435) that leave least of
    the output, and the prediction misses some layers near the input.

    Returns:
        Names; all layers where there are no more than ``most``.
    """
    layers = layers_of(network, ranges)
    names = [layer.tensor for layer in layers]
    if len(names) <= most:
        return tuple(names)
    gains = noise_gains(network, statistics)
    share = {layer.tensor: _noise_share(network, layer, statistics, ranges, gains) for layer in layers}
    kept = {name: _kept(statistics.get(name), _rounding_noise(*ranges[name])) for name in names}
    by_share = sorted(names, key=lambda name: -share[name])
    by_signal = sorted(names, key=lambda name: kept[name])
    suspected = set(first)
    taken = [name for name in by_share if name in suspected][: most // 2]
    in_turn = [name for pair in zip(by_share, by_signal, strict=True) for name in pair]
    return tuple(dict.fromkeys((*taken, *in_turn)))[:most]


def _noise_share(
    network: Network, layer: Layer, statistics: Statistics, ranges: TensorRanges, gains: dict[str, Gains]
) -> float:
    """Predicted noise at the outputs from rounding a layer's output and its weights."""
    known = gains.get(layer.tensor)
    share = 0.0 if known is None else _rounding_noise(*ranges[layer.tensor]) * float(known.sum())
    step = layer.weighted
    noise = None if step is None else _weight_noise(network, step, statistics)
    behind = None if step is None else gains.get(step.output)
    if noise is None or behind is None or len(behind) != len(noise):
        return share
    return share + float(noise @ behind)


def _rounding_noise(low: float, high: float) -> float:
    """Variance of the rounding error: a uniform error of one step has a twelfth of its square."""
    return (span_of(low, high) / (STEPS - 1)) ** 2 / 12.0


def _weight_noise(network: Network, step: Weighted, statistics: Statistics) -> NDArray[np.float64] | None:
    """Variance that rounded weights add to each output channel, float64 (O,)."""
    known = statistics.get(step.source)
    if known is None or len(known.mean_square) <= int(step.reads.max()):
        return None
    weights = network.matrix(step)
    steps = np.abs(weights).max(axis=(1, 2)).astype(np.float64) / _WEIGHT_STEPS
    read = known.mean_square[step.reads].sum(axis=1) * weights.shape[2]
    return np.asarray(np.square(steps) / 12.0 * read)


def _kept(known: ChannelStatistics | None, noise: float) -> float:
    """Mean square of the median live channel over the noise; the mean would hide what an outlier starves."""
    if known is None or not live_channels(known).any():
        return float("inf")
    return float(np.median(known.mean_square[live_channels(known)])) / max(noise, _TINY)


# Layers that are measured unless more are asked for: some ten seconds for TinyPose-256.
MOST_LAYERS = 24
# What ``--explain`` takes at most: some two minutes for TinyPose-256.
MOST_LAYERS_EXPLAINED = 400
_SHOWN_CULPRITS, _SHOWN_LAYERS = 12, 10


def diagnose(
    subject: Subject,
    *,
    float_ops: Iterable[AuditedOp] = (),
    most_layers: int = MOST_LAYERS,
    progress: Progress | None = None,
) -> Diagnosis:
    """Finds out why a float model suffers under int8.

    Args:
        subject: The model, what its tensors hold and unlabelled crops.
        float_ops: Ops that a quantizer left in float.
        most_layers: How many layers are rounded alone; the most suspicious ones where there are more.
        progress: Called with (done, total) layers.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: A model failed.
    """
    model = open_roundable(subject.model)
    network, statistics, ranges = model.network, subject.statistics, subject.ranges
    suspects = find_suspects(network, statistics, ranges)
    notes = starved_weights(network, layers_of(network, ranges), statistics)
    first = [*(suspect.tensor for suspect in suspects if not suspect.repeats), *notes]
    # Without crops there is nothing to measure on; what the ranges say stands by itself.
    layers = choose_layers(network, statistics, ranges, most_layers, first) if subject.crops else ()
    measured = measure_sensitivity(subject, model, layers, progress) if layers else ()
    return Diagnosis(measured, find_culprits(suspects, measured, float_ops, notes))


def culprits_text(culprits: Sequence[Culprit], most: int = 5) -> str:
    """The worst culprits, each with its reason, for a message."""
    if not culprits:
        return "No single tensor stands out."
    return "Culprits: " + "; ".join(f"'{c.tensor}' ({c.op}) {c.reason}" for c in culprits[:most]) + "."


def describe(diagnosis: Diagnosis) -> str:
    """The diagnosis for a terminal: culprits with their reasons, then the layers that cost most."""
    lines = [f"Culprits ({len(diagnosis.culprits)}), worst first:"]
    for number, culprit in enumerate(diagnosis.culprits[:_SHOWN_CULPRITS], start=1):
        lines.append(f"{number:3}. {culprit.kind}: {culprit.op} '{culprit.tensor}'{_cost(culprit)}")
        lines.append(f"     {culprit.reason}")
    if len(diagnosis.culprits) > _SHOWN_CULPRITS:
        lines.append(f"     and {len(diagnosis.culprits) - _SHOWN_CULPRITS} more; --json has all")
    if not diagnosis.culprits:
        lines.append("  none")
    if diagnosis.layers:
        lines.append(f"Layers rounded alone ({len(diagnosis.layers)} measured), worst first:")
        lines.append("      loss  output dB  op and tensor")
        lines.extend(_row(entry) for entry in diagnosis.layers[:_SHOWN_LAYERS])
    return "\n".join(lines)


def _cost(culprit: Culprit) -> str:
    if culprit.oks_loss is None:
        return "" if culprit.kind == "unsupported_op" else " (not measured alone)"
    return f" (alone takes {culprit.oks_loss:.4f} from the agreement)"


def _row(entry: LayerSensitivity) -> str:
    loss = "       -" if entry.oks_loss is None else f"{entry.oks_loss:8.4f}"
    sqnr = "        -" if entry.sqnr_db is None else f"{entry.sqnr_db:9.1f}"
    return f"  {loss}  {sqnr}  {entry.op} '{entry.layer}'"
