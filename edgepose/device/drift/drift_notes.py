"""Drift as an event for telemetry and page: the feature and its size, nothing else."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.drift_record import DriftSize, FeatureName
from edgepose.spec.telemetry_record import RuntimeEvent


def drift_event(
    kind: Literal["drift_started", "drift_ended"], feature: FeatureName, size: DriftSize | None = None
) -> RuntimeEvent:
    """The event.

    Args:
        kind: Which.
        feature: What drifted.
        size: How far; its largest figure is told.
    """
    value = None if size is None else round(max(size.psi or 0.0, size.outside or 0.0), 3)
    return RuntimeEvent(kind=kind, subject=feature, value=value)
