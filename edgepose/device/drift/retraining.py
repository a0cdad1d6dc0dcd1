"""From events to a request that a host can act on. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.inference.drift_features import FEATURES
from edgepose.spec.bundle_manifest import BundleManifest
from edgepose.spec.drift_record import DriftEvent, DriftStatus, RetrainingRequest


@dataclass(frozen=True)
class RunningModel:
    """What is running, as far as a request has to name it.

    Attributes:
        manifest: Of its bundle.
        reference_sha256: Digest of the drift reference in it; None without one.
    """

    manifest: BundleManifest
    reference_sha256: str | None


def retraining_request(
    model: RunningModel, drifted: tuple[DriftEvent, ...], requested_at: str
) -> RetrainingRequest:
    """Puts the request together.

    Args:
        model: What drifted.
        drifted: The events that go on.
        requested_at: ISO 8601, UTC.
    """
    manifest = model.manifest
    lineage = manifest.provenance.model
    recipe = lineage.recipe.name if lineage and lineage.recipe else None
    return RetrainingRequest(
        requested_at=requested_at,
        model=manifest.model.spec.name,
        model_sha256=manifest.model.sha256,
        bundle_version=manifest.bundle_version,
        precision=manifest.model.precision,
        recipe=recipe,
        profile=manifest.profile.id,
        reference_sha256=model.reference_sha256,
        drifted=drifted,
        pictures=tuple(dict.fromkeys(wanted_pictures(event) for event in drifted)),
    )


def wanted_pictures(event: DriftEvent) -> str:
    """In words, what training pictures are missing."""
    feature = FEATURES[event.feature]
    lower = event.size.typical < event.size.reference
    words = (feature.low if lower else feature.high) or feature.meaning
    return f"{words} ({event.feature}: {_change(event)})"


def describe_event(event: DriftEvent) -> str:
    """One line for people."""
    over = f", over since {event.until}" if event.until else ""
    return (
        f"{event.feature} drifted since {event.since}{over}: {_change(event)} "
        f"({FEATURES[event.feature].meaning})"
    )


def describe_drift(status: DriftStatus) -> str:
    """Everything that is known, for people."""
    lines = [describe_event(event) for event in status.events]
    lines.append(f"{status.windows} windows seen" + (", still learning" if status.learning else ""))
    if status.retrain:
        lines.append("Retrain: edgepose drift request, then edgepose distill --request")
    return "\n".join(lines)


def describe_request(request: RetrainingRequest) -> str:
    """What is asked for, for people."""
    lines = [f"{request.requested_at}: {request.model} of bundle version {request.bundle_version} drifted."]
    lines += [f"  {describe_event(event)}" for event in request.drifted]
    lines += ["Training pictures should show:", *(f"  {words}" for words in request.pictures)]
    return "\n".join(lines)


def _change(event: DriftEvent) -> str:
    shown = FEATURES[event.feature].shown
    return f"{shown(event.size.typical)} instead of {shown(event.size.reference)}"
