"""The record of ``edgepose deploy``."""

from __future__ import annotations

from typing import Any

from edgepose.spec.records import Record


class DeploymentStep(Record, frozen=True, kw_only=True):
    """One step that was carried out.

    Attributes:
        name: For example ``quantize``.
        detail: Its figure, in words.
        seconds: How long it took.
    """

    name: str
    detail: str
    seconds: float


class DeploymentReport(Record, frozen=True, kw_only=True):
    """``edgepose.deployment/1``.

    Attributes:
        schema: The record's name and version.
        profile: Profile id.
        precision: Precision of the model that ships.
        recipe: How it was quantized.
        dry_run: Whether this is only the plan.
        plan: The steps in words, in order.
        steps: What was done, with figures.
        gate: The gate's result, or None before it ran.
        bundle: Version, size and digest of the bundle, or None.
        installation: What the installer says, or None.
        root: The device root, or None for a dry run.
    """

    schema: str
    profile: str
    precision: str
    recipe: str
    dry_run: bool
    plan: tuple[str, ...]
    steps: tuple[DeploymentStep, ...] = ()
    gate: dict[str, Any] | None = None
    bundle: dict[str, Any] | None = None
    installation: dict[str, Any] | None = None
    root: str | None = None
