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

from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.records.device_status import HealthReport, HistoryEvent, SlotName
from edgepose.records.record import Record
from edgepose.trust.signed_bundle import TrustAnchor, root_fingerprint

MAX_HISTORY = 100
# A new version whose health check takes the whole device down must not be tried for ever.
MAX_TRIAL_ATTEMPTS = 2
# A version that passed its health check and then does not stay up is started this often.
MAX_UNPROVEN_STARTS = 3


class SlotContent(Record, frozen=True, kw_only=True):
    """What a slot holds.

    Attributes:
        bundle_version: Version of the bundle.
        bundle_sha256: Digest of the bundle file it came from.
        manifest_sha256: Digest of its manifest, from which all other digests follow.
        model_sha256: Digest of its pose model.
        profile_id: Profile it was made for.
        signed_by: Fingerprint of the root under which it was signed, or None for an unsigned bundle.
    """

    bundle_version: int
    bundle_sha256: str
    manifest_sha256: str
    model_sha256: str
    profile_id: str
    signed_by: str | None = None


class PendingChange(Record, frozen=True, kw_only=True):
    """A change that has begun and is not decided.

    Attributes:
        kind: ``install`` brings a new bundle into the slot; ``rollback`` returns to the one in it.
        phase: ``staging`` while files arrive; ``trial`` once they are whole and the health check decides.
        slot: The slot concerned.
        content: What it holds or will hold.
        attempts: Health checks that were started.
        note: What the history shall say beside it.
    """

    kind: Literal["install", "rollback"]
    phase: Literal["staging", "trial"]
    slot: SlotName
    content: SlotContent
    attempts: int = 0
    note: str = ""


class DeviceState(Record, frozen=True, kw_only=True):
    """``state.json``.

    Attributes:
        schema: ``edgepose.device_state/1``.
        active: The slot that runs, or None.
        contents: What each whole, committed slot holds.
        pending: The change in progress, or None.
        health: The health check that made the active slot active.
        unproven_starts: How often the service was started with the active version since it was installed here
            and before it ran steadily; None once it did, and where there is nothing to return to.
        highest_version: Highest bundle version ever committed here.
        trust: Whom this device believes, or None where no root was pinned yet; kept in a file of its own.
        history: What happened, oldest first, at most ``MAX_HISTORY``.
    """

    schema: Literal["edgepose.device_state/1"] = "edgepose.device_state/1"
    active: SlotName | None = None
    contents: dict[SlotName, SlotContent] = msgspec.field(default_factory=dict)
    pending: PendingChange | None = None
    health: HealthReport | None = None
    highest_version: int = 0
    unproven_starts: int | None = None
    trust: TrustAnchor | None = None
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


def begin_install(
    state: DeviceState, content: SlotContent, trust: TrustAnchor | None = None, note: str = ""
) -> DeviceState:
    """Gives up the slot that is not active, so that files may arrive there.

    Args:
        state: An idle state.
        content: What will arrive.
        trust: Whom to believe from now on, as the verified bundle says. It stays whatever becomes of the
            bundle: keys revoked by a bundle whose model turns out sick are revoked.
        note: What the history shall say beside the installation.
    """
    _expect(state, None)
    slot = state.other_slot
    kept = {name: held for name, held in state.contents.items() if name != slot}
    pending = PendingChange(kind="install", phase="staging", slot=slot, content=content, note=note)
    return replace(state, contents=kept, pending=pending, trust=_admitting(state, trust or state.trust, kept))


def enrolled(state: DeviceState, root: str) -> DeviceState:
    """Pins a root, once.

    Raises:
        TrustError: Another one is pinned.
    """
    if state.trust is None:
        return replace(state, trust=_admitting(state, TrustAnchor(root=root), state.contents))
    if state.trust.root == root:
        return state
    raise TrustError(
        f"This device has pinned {root_fingerprint(state.trust.root)}, and pins only once.",
        "New keys come by `edgepose keys rotate` and a bundle signed with them; other keys need a new root.",
    )


def _admitting(
    state: DeviceState, trust: TrustAnchor | None, kept: dict[SlotName, SlotContent]
) -> TrustAnchor | None:
    """The next anchor, which lets run on what was verified before it: under none, or under an older root."""
    if trust is None:
        return None
    before = state.trust
    moved = before is None or before.root != trust.root
    admitted = {
        content.manifest_sha256: content.signed_by
        for content in kept.values()
        if moved or content.manifest_sha256 in before.admitted  # type: ignore[union-attr]
    }
    return replace(trust, admitted=admitted)


def installation_note(state: DeviceState, content: SlotContent, *, older: bool, pins: bool) -> str:
    """What the history says beside an installation: what is out of the ordinary.

    Args:
        state: The state before.
        content: What arrives.
        older: Whether it was signed before what was verified before.
        pins: Whether it pins the root.
    """
    active = state.active_content
    notes = []
    if active is not None and content.bundle_version < active.bundle_version:
        notes.append(f"downgrade from version {active.bundle_version} was allowed")
    elif older:
        notes.append("signed before the newest bundle seen, which was allowed")
    if pins:
        notes.append(f"pinned root {content.signed_by}")
    return "; ".join(notes)


def begin_trial(state: DeviceState) -> DeviceState:
    """The files are whole: from here on the health check decides."""
    pending = _expect(state, "staging")
    return replace(state, pending=replace(pending, phase="trial"))


def begin_rollback(state: DeviceState, note: str = "") -> DeviceState:
    """Puts the version before on trial.

    Args:
        state: An idle state.
        note: What the history shall say beside it.

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
    pending = PendingChange(
        kind="rollback", phase="trial", slot=state.other_slot, content=previous, note=note
    )
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
        detail="; ".join(filter(None, [f"verified on {health.verified_on}", pending.note])),
    )
    return replace(
        state,
        active=pending.slot,
        contents={**state.contents, pending.slot: pending.content},
        pending=None,
        health=health,
        highest_version=max(state.highest_version, version),
        unproven_starts=0 if pending.kind == "install" and state.active is not None else None,
        history=_with_event(state, event),
    )


def count_start(state: DeviceState) -> DeviceState:
    """Recorded before the service runs, so that a start that takes it down is counted too."""
    if state.unproven_starts is None:
        return state
    return replace(state, unproven_starts=state.unproven_starts + 1)


def excused(state: DeviceState) -> DeviceState:
    """A start that found no camera says nothing about the version, so it is not counted."""
    if not state.unproven_starts:
        return state
    return replace(state, unproven_starts=state.unproven_starts - 1)


def proven(state: DeviceState) -> DeviceState:
    """The active version ran steadily."""
    return replace(state, unproven_starts=None)


def does_not_stay_up(state: DeviceState) -> bool:
    """Whether the active version was started too often without running steadily, and another one is there."""
    starts = state.unproven_starts
    return starts is not None and starts >= MAX_UNPROVEN_STARTS and state.previous_content is not None


def verified_here(state: DeviceState, health: HealthReport, at: str) -> DeviceState:
    """A version that was staged elsewhere passed its health check on the device itself."""
    content = state.active_content
    if content is None:
        raise ValueError("nothing is active")
    event = HistoryEvent(
        at=at,
        event="verified",
        bundle_version=content.bundle_version,
        active_version=content.bundle_version,
        detail=f"first start on the device, verified on {health.verified_on}",
    )
    return replace(state, health=health, history=_with_event(state, event))


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
