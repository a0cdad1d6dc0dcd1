"""What deployments did, to one device or to many, and ``edgepose.toml``, which says where they go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import UNSET, UnsetType

from edgepose.records.accelerator import AcceleratorCompilation, Compilation
from edgepose.records.device_status import HealthReport, SlotName
from edgepose.records.evaluation_report import GateResult
from edgepose.records.record import Record, read_toml, to_builtins


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


class InstallOptions(Record, frozen=True, kw_only=True):
    """Options of ``deploy`` and ``install`` that the installer takes: declared here, handed on whole.

    Attributes:
        allow_downgrade: Whether an older bundle may replace a newer one.
    """

    allow_downgrade: bool = False

    def words(self) -> list[str]:
        """The same as options of a command line."""
        given = {f"--{name.replace('_', '-')}": value for name, value in to_builtins(self).items() if value}
        return [
            word for name, value in given.items() for word in (name, *([] if value is True else [str(value)]))
        ]


class BundleReport(Record, frozen=True, kw_only=True):
    """The bundle of a deployment.

    Attributes:
        accelerator: Whether its model is compiled for one; None for accelerators that need it not; left out
            in records from before there was more than one.
        edgetpu: The same as it was said then.
    """

    bundle_version: int
    size_bytes: int
    sha256: str
    model_sha256: str
    accelerator: AcceleratorCompilation | UnsetType | None = UNSET
    edgetpu: Compilation | None = None


class InstallationReport(Record, frozen=True, kw_only=True):
    """``edgepose.installation/1``: what an installation or a rollback did.

    Attributes:
        root: The device root.
        active_slot: The slot that is active now.
        bundle_version: The version that is active now.
        previous_version: The version that ``rollback`` returns to, or None.
        model_sha256: Digest of the active pose model.
        signed_by: Fingerprint of the root under which it was signed, or None for an unsigned bundle.
        health: The health check that made it active.
        host: The device behind ssh; left out here.
        bytes_sent: Bytes that went there; left out here.
        bundle_sha256: Digest of the file; said by ``edgepose install`` alone.
        seconds: How long it took; said by ``edgepose install`` alone.
    """

    schema: Literal["edgepose.installation/1"] = "edgepose.installation/1"
    root: str
    active_slot: SlotName
    bundle_version: int
    previous_version: int | None = None
    model_sha256: str | None = None
    signed_by: str | None = None
    health: HealthReport
    host: str | UnsetType = UNSET
    bytes_sent: int | UnsetType = UNSET
    bundle_sha256: str | UnsetType = UNSET
    seconds: float | UnsetType = UNSET


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
        bundle: What was built, or None.
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
    gate: GateResult | None = None
    bundle: BundleReport | None = None
    installation: InstallationReport | None = None
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
