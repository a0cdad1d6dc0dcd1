"""Names what int8 hurts in a network, and why, from figures alone.

A suspect is found from the ranges: too few steps are left for most of what a tensor holds. It stays a culprit
unless rounding it was measured to be harmless. What is sensitive without such a reason is named as well.

Weights are suspects as well: an input channel that reaches a thousand times further than its neighbours has
weights a thousand times smaller, and all weights of an output channel share one scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgepose.host.models.audit import AuditedOp
from edgepose.host.quantize.diagnosis.layers import (
    INPUT_OP,
    STEPS,
    Layer,
    Statistics,
    channel_spans,
    layers_of,
    live_channels,
    span_of,
    writers,
)
from edgepose.host.quantize.repair.network import Elementwise, Moved, Network, Opaque, Weighted, Window
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.records.quantization import Culprit, LayerSensitivity

Kind = Literal["outlier_channel", "dead_range", "shared_scale", "sensitive"]
# Under this many of a tensor's 256 steps a channel is little more than noise, as in ``tensor_errors``.
STARVED_STEPS = 8
# The widest channel over the median one. Networks without trouble stay below (see the tests of the zoo);
# the stem of TinyPose-256 has 13.
OUTLIER_RATIO = 8.0
# Joined tensors whose ranges differ by more than this leave the narrower one under 5 of its 8 bits.
UNLIKE_RATIO = 8.0
# A range is dead where its used part is at most this many steps.
_USED_STEPS = 32
# At least 99 % of all values lie within 10 standard deviations of their mean (Chebyshev's inequality).
_DEVIATIONS = 10.0
# Measured to cost less OKS than this, and to leave more than this at the outputs: harmless.
_HARMLESS_OKS, _HARMLESS_SQNR_DB = 0.002, 30.0
# What costs this much alone, or less and leaves no more than this, is named without any other reason.
_SENSITIVE_OKS, _SENSITIVE_SQNR_DB = 0.005, 20.0


@dataclass(frozen=True)
class Suspect:
    """A tensor whose range starves what it holds.

    Attributes:
        tensor: The tensor.
        op: Op that writes it.
        kind: Why.
        reason: Why, in words.
        steps: How many of 256 steps the starved part has.
        repeats: Whether an op only handed on what is suspected already where it came from.
    """

    tensor: str
    op: str
    kind: Kind
    reason: str
    steps: float
    repeats: bool = False


def find_suspects(network: Network, statistics: Statistics, ranges: TensorRanges) -> tuple[Suspect, ...]:
    """What the ranges say against the layers; the most starved first."""
    found: dict[str, Suspect] = {}
    written_by = writers(network)
    for layer in layers_of(network, ranges):
        if layer.tensor not in statistics:
            continue
        suspect = _shared_scale(layer, statistics, ranges) or _outlier(layer, network, statistics, ranges)
        suspect = suspect or _dead_range(layer, statistics, ranges)
        if suspect is not None:
            repeats = _handed_on(layer.tensor, written_by, found) or _repeats(suspect, layer, found)
            found[layer.tensor] = replace(suspect, repeats=repeats)
    return tuple(sorted(found.values(), key=lambda s: (s.repeats, s.steps, s.tensor)))


def find_culprits(
    suspects: Sequence[Suspect],
    sensitivities: Sequence[LayerSensitivity],
    float_ops: Iterable[AuditedOp] = (),
    weight_notes: Mapping[str, str] | None = None,
) -> tuple[Culprit, ...]:
    """Puts suspicion and measurement together.

    Returns:
        First what was measured to cost, the worst first; then what was not measured, the most starved first;
        then what stays in float.
    """
    measured = {entry.layer: entry for entry in sensitivities}
    known, notes = {suspect.tensor for suspect in suspects}, weight_notes or {}
    ranked: list[tuple[tuple[float, ...], Culprit]] = []
    for suspect in suspects:
        entry = measured.get(suspect.tensor)
        if not suspect.repeats and (entry is None or not _is_harmless(entry)):
            ranked.append((_rank(entry, suspect.steps), _accused(suspect, entry)))
    ranked.extend(
        (_rank(entry, float(STEPS)), _sensitive(entry, notes.get(entry.layer)))
        for entry in sensitivities
        if entry.layer not in known and _is_sensitive(entry)
    )
    ranked.sort(key=lambda pair: (*pair[0], pair[1].tensor))
    return (*(culprit for _, culprit in ranked), *map(_unsupported, float_ops))


def _handed_on(tensor: str, written_by: Mapping[str, object], found: Mapping[str, Suspect]) -> bool:
    """Whether an op that changes no proportions has the tensor from one that is named already."""
    while True:
        step = written_by.get(tensor)
        if isinstance(step, Moved) and len(step.sources) == 1:
            tensor = step.sources[0]
        elif isinstance(step, Window) or (isinstance(step, Elementwise) and step.factor.size == 1):
            tensor = step.source
        else:
            return False
        if tensor in found:
            return True


def _repeats(suspect: Suspect, layer: Layer, found: Mapping[str, Suspect]) -> bool:
    """Whether the only source of an unknown op is named already, for the same reason and as starved."""
    if not isinstance(layer.step, Opaque) or len(layer.step.sources) != 1:
        return False
    before = found.get(layer.step.sources[0])
    return before is not None and before.kind == suspect.kind and before.steps <= 1.01 * suspect.steps


def _shared_scale(layer: Layer, statistics: Statistics, ranges: TensorRanges) -> Suspect | None:
    """Tensors of unlike ranges that are joined."""
    if not isinstance(layer.step, Moved):
        return None
    known = [_range(name, statistics, ranges) for name in layer.step.sources]
    parts = [part for part in known if part is not None and span_of(*part) > 0]
    whole = span_of(*ranges[layer.tensor])
    if len(parts) < 2 or not whole > 0:
        return None
    ordered = sorted(parts, key=lambda part: span_of(*part))
    narrow, wide = ordered[0], ordered[-1]
    if span_of(*wide) <= UNLIKE_RATIO * span_of(*narrow):
        return None
    steps = min(span_of(*narrow) / whole, 1.0) * STEPS
    reason = (
        f"joins {_words(*narrow)} with {_words(*wide)} under one scale: the narrower has "
        f"{steps:.2g} of {STEPS} steps"
    )
    return Suspect(layer.tensor, layer.op, "shared_scale", reason, steps)


def _range(name: str, statistics: Statistics, ranges: TensorRanges) -> tuple[float, float] | None:
    known = statistics.get(name)
    if name in ranges or known is None:
        return ranges.get(name)
    return float(known.lowest.min()), float(known.highest.max())


def _outlier(layer: Layer, network: Network, statistics: Statistics, ranges: TensorRanges) -> Suspect | None:
    """Few channels that set the scale of all."""
    known, whole = statistics[layer.tensor], span_of(*ranges[layer.tensor])
    live = np.flatnonzero(live_channels(known))
    spans = channel_spans(known)
    if layer.op == INPUT_OP or len(live) < 2 or not whole > 0:
        return None
    median, widest = float(np.median(spans[live])), int(spans.argmax())
    steps = np.minimum(spans[live] / whole, 1.0) * STEPS
    starved = int((steps < STARVED_STEPS).sum())
    ratio = float(spans[widest]) / median
    if ratio <= OUTLIER_RATIO or starved == 0:
        return None
    if layer.tensor in network.outputs:
        reason = (
            f"an output whose channels reach from {spans[live].min():.3g} to {spans[widest]:.3g} under one "
            f"scale: {starved} of {len(spans)} have under {STARVED_STEPS} of {STEPS} steps"
        )
        return Suspect(layer.tensor, layer.op, "shared_scale", reason, float(np.median(steps)))
    reason = (
        f"channel {widest} reaches {ratio:.3g} times the median channel; {starved} of {len(spans)} channels "
        f"have under {STARVED_STEPS} of {STEPS} steps"
    )
    return Suspect(layer.tensor, layer.op, "outlier_channel", reason, float(np.median(steps)))


def _dead_range(layer: Layer, statistics: Statistics, ranges: TensorRanges) -> Suspect | None:
    """A range whose greater part holds next to nothing."""
    low, high = ranges[layer.tensor]
    known, whole = statistics[layer.tensor], span_of(low, high)
    if not whole > 0:
        return None
    first, last = float(known.lowest.min()), float(known.highest.max())
    steps = (last - first) / whole * STEPS
    if 0 < steps <= _USED_STEPS:
        reason = (
            f"holds {_words(first, last)} only, but its scale must reach 0 as well: "
            f"{steps:.2g} of {STEPS} steps are used"
        )
        return Suspect(layer.tensor, layer.op, "dead_range", reason, steps)
    mean = float(known.mean.mean())
    deviation = math.sqrt(max(float(known.mean_square.mean()) - mean**2, 0.0))
    bulk = (max(mean - _DEVIATIONS * deviation, low), min(mean + _DEVIATIONS * deviation, high))
    steps = (bulk[1] - bulk[0]) / whole * STEPS
    if not 0 < steps <= _USED_STEPS:
        return None
    channels = int((channel_spans(known) > whole / 2).sum())
    reason = (
        f"range {_words(low, high)} is set by {channels} of {len(known.mean)} channels, while at least 99 % "
        f"of the values lie in {_words(*bulk)}: {steps:.2g} of {STEPS} steps"
    )
    return Suspect(layer.tensor, layer.op, "dead_range", reason, steps)


def _words(low: float, high: float) -> str:
    return f"{low:.4g}..{high:.4g}"


def _is_harmless(entry: LayerSensitivity) -> bool:
    quiet = entry.sqnr_db is None or entry.sqnr_db > _HARMLESS_SQNR_DB
    return quiet and (entry.oks_loss or 0.0) < _HARMLESS_OKS


def _is_sensitive(entry: LayerSensitivity) -> bool:
    loud = entry.sqnr_db is not None and entry.sqnr_db < _SENSITIVE_SQNR_DB
    return (entry.oks_loss or 0.0) >= (_HARMLESS_OKS if loud else _SENSITIVE_OKS)


def _rank(entry: LayerSensitivity | None, steps: float) -> tuple[float, ...]:
    """Measured losses first, equal ones by what is left of the outputs, then by the steps that are left."""
    if entry is None:
        return (1.0, steps)
    sqnr = math.inf if entry.sqnr_db is None else entry.sqnr_db
    return (0.0, -(entry.oks_loss or 0.0), sqnr, steps)


def _accused(suspect: Suspect, entry: LayerSensitivity | None) -> Culprit:
    return Culprit(
        tensor=suspect.tensor,
        op=suspect.op,
        kind=suspect.kind,
        reason=suspect.reason,
        oks_loss=None if entry is None else entry.oks_loss,
        sqnr_db=None if entry is None else entry.sqnr_db,
    )


def _sensitive(entry: LayerSensitivity, note: str | None) -> Culprit:
    left = "" if entry.sqnr_db is None else f" and leaves {entry.sqnr_db:.1f} dB at the outputs"
    return Culprit(
        tensor=entry.layer,
        op=entry.op,
        kind="sensitive",
        reason=f"rounding this layer alone takes {entry.oks_loss or 0.0:.3f} from the agreement{left}"
        + ("" if note is None else f"; {note}"),
        oks_loss=entry.oks_loss,
        sqnr_db=entry.sqnr_db,
    )


def _unsupported(op: AuditedOp) -> Culprit:
    return Culprit(
        tensor=op.tensors[0] if op.tensors else op.name,
        op=op.op,
        kind="unsupported_op",
        reason=f"{op.op} stays in float: the quantizer has no integer form of it, or was told to leave it",
    )


# int8 weights are symmetric.
_WEIGHT_STEPS = 127
# This share of the signal through starved weights is worth naming.
_MUCH = 0.1


def starved_weights(network: Network, layers: Iterable[Layer], statistics: Statistics) -> Mapping[str, str]:
    """What is wrong with the weights of layers.

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
    starved = (largest / whole * _WEIGHT_STEPS < STARVED_STEPS) & (power > 0)
    share = float(power[starved].sum() / max(power.sum(), 1e-30))
    if share < _MUCH:
        return None
    channel_power = np.bincount(step.reads[starved], power[starved])
    words = (
        f"{share:.0%} of its signal comes through weights with under {STARVED_STEPS} of {_WEIGHT_STEPS} "
        f"steps, most of it from input channel {int(channel_power.argmax())} of '{step.source}'"
    )
    return share, words
