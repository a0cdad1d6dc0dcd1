"""The states of a device root and every step between them; pure, no file and no clock.

```
idle --begin_install--> staging --begin_trial--> trial --commit--> idle   the new version is active
                           |                       |
                           +-------abandon---------+-----> idle           the old version is active
idle --begin_rollback--> trial --commit | abandon--> idle
```
Only ``commit`` changes the active slot. The slot that is not active is given up by ``begin_install``,
before its files are touched, so no state ever names a slot whose files are not whole.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from edgepose.errors import ConfigError, DeployError
from edgepose.spec.device_status import HealthReport, HistoryEvent, SlotName
from edgepose.spec.records import Record

MAX_HISTORY = 100
# A new version whose health check takes the whole device down must not be tried for ever.
MAX_TRIAL_ATTEMPTS = 2


class SlotContent(Record, frozen=True, kw_only=True):
    """What a slot holds.

    Attributes:
        bundle_version: Version of the bundle.
        bundle_sha256: Digest of the bundle file it came from.
        manifest_sha256: Digest of its manifest, from which all other digests follow.
        model_sha256: Digest of its pose model.
        profile_id: Profile it was made for.
    """

    bundle_version: int
    bundle_sha256: str
    manifest_sha256: str
    model_sha256: str
    profile_id: str


class PendingChange(Record, frozen=True, kw_only=True):
    """A change that has begun and is not decided.

    Attributes:
        kind: ``install`` brings a new bundle into the slot; ``rollback`` returns to the one in it.
        phase: ``staging`` while files arrive; ``trial`` once they are whole and the health check decides.
        slot: The slot concerned.
        content: What it holds or will hold.
        attempts: Health checks that were started.
    """

    kind: Literal["install", "rollback"]
    phase: Literal["staging", "trial"]
    slot: SlotName
    content: SlotContent
    attempts: int = 0


class DeviceState(Record, frozen=True, kw_only=True):
    """``state.json``.

    Attributes:
        schema: ``edgepose.device_state/1``.
        active: The slot that runs, or None.
        contents: What each whole, committed slot holds.
        pending: The change in progress, or None.
        health: The health check that made the active slot active.
        highest_version: Highest bundle version ever committed here.
        history: What happened, oldest first, at most ``MAX_HISTORY``.
    """

    schema: Literal["edgepose.device_state/1"] = "edgepose.device_state/1"
    active: SlotName | None = None
    contents: dict[SlotName, SlotContent] = msgspec.field(default_factory=dict)
    pending: PendingChange | None = None
    health: HealthReport | None = None
    highest_version: int = 0
    history: tuple[HistoryEvent, ...] = ()

    def __post_init__(self) -> None:
        if self.active is not None and self.active not in self.contents:
            raise ValueError(f"active slot '{self.active}' has no contents")
        if self.active is None and self.contents:
            raise ValueError("a slot has contents and none is active")

    @property
    def active_content(self) -> SlotContent | None:
        """What runs."""
        return self.contents[self.active] if self.active else None

    @property
    def other_slot(self) -> SlotName:
        """The slot that does not run; ``a`` when none does."""
        return "b" if self.active == "a" else "a"

    @property
    def previous_content(self) -> SlotContent | None:
        """What ``rollback`` returns to, or None."""
        return self.contents.get(self.other_slot)


def check_install(state: DeviceState, content: SlotContent, *, allow_downgrade: bool) -> None:
    """Refuses a bundle that must not replace the active one.

    Raises:
        ConfigError: It is for another profile.
        DeployError: It is older, and that was not allowed.
    """
    active = state.active_content
    if active is None:
        return
    if content.profile_id != active.profile_id:
        raise ConfigError(
            f"The bundle is for profile '{content.profile_id}'; this root is a '{active.profile_id}'.",
            "Use another --root, or an empty one.",
        )
    if content.bundle_version < active.bundle_version and not allow_downgrade:
        raise DeployError(
            f"Bundle version {content.bundle_version} is older than the installed {active.bundle_version}.",
            "Use `edgepose rollback` to return to the version before, or --allow-downgrade.",
        )


def begin_install(state: DeviceState, content: SlotContent) -> DeviceState:
    """Gives up the slot that is not active, so that files may arrive there."""
    _expect(state, None)
    slot = state.other_slot
    kept = {name: held for name, held in state.contents.items() if name != slot}
    pending = PendingChange(kind="install", phase="staging", slot=slot, content=content)
    return replace(state, contents=kept, pending=pending)


def begin_trial(state: DeviceState) -> DeviceState:
    """The files are whole: from here on the health check decides."""
    pending = _expect(state, "staging")
    return replace(state, pending=replace(pending, phase="trial"))


def begin_rollback(state: DeviceState) -> DeviceState:
    """Puts the version before on trial.

    Raises:
        DeployError: There is none.
    """
    _expect(state, None)
    previous = state.previous_content
    if previous is None or state.active is None:
        raise DeployError(
            "There is no earlier version to return to.",
            "A version before exists once a second bundle has been installed here.",
        )
    pending = PendingChange(kind="rollback", phase="trial", slot=state.other_slot, content=previous)
    return replace(state, pending=pending)


def count_attempt(state: DeviceState) -> DeviceState:
    """Recorded before each health check, so that one that takes the device down is counted too."""
    pending = _expect(state, "trial")
    return replace(state, pending=replace(pending, attempts=pending.attempts + 1))


def may_try_again(state: DeviceState) -> bool:
    """Whether a trial that was cut off may have another health check."""
    pending = state.pending
    return pending is not None and pending.phase == "trial" and pending.attempts < MAX_TRIAL_ATTEMPTS


def commit(state: DeviceState, health: HealthReport, at: str) -> DeviceState:
    """Makes the slot on trial the active one."""
    pending = _expect(state, "trial")
    version = pending.content.bundle_version
    event = HistoryEvent(
        at=at,
        event="installed" if pending.kind == "install" else "rolled_back",
        bundle_version=version,
        active_version=version,
        detail=f"verified on {health.verified_on}",
    )
    return replace(
        state,
        active=pending.slot,
        contents={**state.contents, pending.slot: pending.content},
        pending=None,
        health=health,
        highest_version=max(state.highest_version, version),
        history=_with_event(state, event),
    )


def abandon(state: DeviceState, detail: str, at: str, *, interrupted: bool) -> DeviceState:
    """Gives up the pending change; the active slot stays as it was.

    Args:
        state: A state with a pending change.
        detail: Why, in words.
        at: ISO 8601, UTC.
        interrupted: Whether it was cut off, rather than judged.
    """
    pending = state.pending
    if pending is None:
        raise ValueError("nothing is pending")
    failed = "health_failed" if pending.kind == "install" else "rollback_failed"
    active = state.active_content
    event = HistoryEvent(
        at=at,
        event="interrupted" if interrupted else failed,  # type: ignore[arg-type]
        bundle_version=pending.content.bundle_version,
        active_version=active.bundle_version if active else None,
        detail=detail,
    )
    return replace(state, pending=None, history=_with_event(state, event))


def slots_to_clear(state: DeviceState) -> tuple[SlotName, ...]:
    """Slots whose folders nothing refers to, so that they are leftovers."""
    kept = set(state.contents)
    if state.pending is not None and state.pending.phase == "trial":
        kept.add(state.pending.slot)
    return tuple(slot for slot in ("a", "b") if slot not in kept)


def _with_event(state: DeviceState, event: HistoryEvent) -> tuple[HistoryEvent, ...]:
    return (*state.history, event)[-MAX_HISTORY:]


def _expect(state: DeviceState, phase: Literal["staging", "trial"] | None) -> PendingChange:
    found = state.pending.phase if state.pending else None
    if found != phase:
        raise ValueError(f"the root is in phase {found}, expected {phase}")
    return state.pending  # type: ignore[return-value]
