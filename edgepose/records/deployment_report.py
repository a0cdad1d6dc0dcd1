"""The record of ``edgepose deploy``.

What a rollout to many devices did.

``edgepose.toml`` of a project: where its deployments go when the command line names no place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from edgepose.records.record import Record, read_toml


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


Outcome = Literal["installed", "failed", "unreachable", "not_attempted"]


class HostOutcome(Record, frozen=True, kw_only=True):
    """One device.

    Attributes:
        host: Its name in the inventory.
        outcome: ``failed``: it answered, and the version before is active; ``not_attempted``: the rollout
            stopped before its stage.
        bundle_version: What is active there now, where that is known.
        seconds: Time of the installation.
        bytes_sent: Bytes that went there.
        message: Why not, in one sentence.
    """

    host: str
    outcome: Outcome
    bundle_version: int | None = None
    seconds: float | None = None
    bytes_sent: int | None = None
    message: str = ""


class RolloutReport(Record, frozen=True, kw_only=True):
    """``deploy --inventory --json``.

    Attributes:
        schema: ``edgepose.rollout/1``.
        bundle_version: What was rolled out.
        bundle_sha256: Digest of the bundle.
        stages: Sizes of the stages.
        failure_limit: Percent of a stage that may fail.
        complete: Whether every device has it.
        resumed: Whether an earlier call of this rollout did a part.
        hosts: The devices, in the order of the inventory.
        seconds: Time of this call's rollout.
    """

    schema: Literal["edgepose.rollout/1"]
    bundle_version: int
    bundle_sha256: str
    stages: tuple[str, ...]
    failure_limit: int
    complete: bool
    resumed: bool
    hosts: tuple[HostOutcome, ...]
    seconds: float


PROJECT_FILE = Path("edgepose.toml")


class DeployTarget(Record, frozen=True, kw_only=True):
    """``[target]``; at most one of the three.

    Attributes:
        host: As ``--host``.
        root: As ``--root``, relative to the file.
        inventory: As ``--inventory``, relative to the file.
    """

    host: str | None = None
    root: str | None = None
    inventory: str | None = None

    def __post_init__(self) -> None:
        named = [name for name in ("host", "root", "inventory") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of host, root, inventory, found {', '.join(named) or 'none'}")


class ProjectFile(Record, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        target: Where deployments go; None leaves it to the command line.
    """

    target: DeployTarget | None = None


def project_target(path: Path = PROJECT_FILE) -> DeployTarget | None:
    """The target of the project in the working folder, or None.

    Raises:
        ConfigError: The file is wrong.
    """
    return read_toml(path, ProjectFile).target if path.is_file() else None
