"""What a rollout to many devices did."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.records import Record

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
