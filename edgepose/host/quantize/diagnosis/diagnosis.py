"""The whole diagnosis of one float model: suspects from the ranges, measured on the task, put in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgepose.host.quantize.diagnosis.choice import choose_layers
from edgepose.host.quantize.diagnosis.culprits import LeftInFloat, find_culprits, find_suspects
from edgepose.host.quantize.diagnosis.fake_quantization import open_roundable
from edgepose.host.quantize.diagnosis.layers import layers_of
from edgepose.host.quantize.diagnosis.sensitivity import Progress, measure_sensitivity
from edgepose.host.quantize.diagnosis.starved_weights import starved_weights
from edgepose.host.quantize.diagnosis.subject import Subject
from edgepose.spec.quantization_report import Culprit, LayerSensitivity

# Layers that are measured unless more are asked for: some ten seconds for TinyPose-256.
MOST_LAYERS = 24
# What ``--explain`` takes at most: some two minutes for TinyPose-256.
MOST_LAYERS_EXPLAINED = 400
_SHOWN_CULPRITS, _SHOWN_LAYERS = 12, 10


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        layers: Layers that were rounded alone, worst first.
        culprits: What int8 hurts and why, worst first.
    """

    layers: tuple[LayerSensitivity, ...]
    culprits: tuple[Culprit, ...]


def diagnose(
    subject: Subject,
    *,
    float_ops: Iterable[LeftInFloat] = (),
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
        ConfigError: A picture cannot be read.
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
