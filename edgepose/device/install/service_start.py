"""What happens in a device root when its service starts, and once it has run steadily.

Decisions change the state, so the owner of the root takes them: on a device, in a step of the unit before the
service (ADR 0037). The service itself can only leave a note about how its start went, which the next start
reads. The note can keep a version or excuse a start; it can neither name a version nor make one active.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from edgepose.device.install.installed import verified_slot
from edgepose.device.install.installer import Hooks, Say, recover, try_slot, utc_now
from edgepose.device.install.layout import Layout, make_var, read_of_service
from edgepose.device.install.owner import require_state, writing
from edgepose.device.install.state_file import exclusive_lock, read_state, write_state
from edgepose.device.install.transitions import (
    DeviceState,
    begin_rollback,
    count_start,
    does_not_stay_up,
    excused,
    may_try_again,
    proven,
    verified_here,
)
from edgepose.errors import DeployError, EdgeposeError
from edgepose.records.files import READABLE, write_whole
from edgepose.records.record import Record, from_json, to_json

_NOTE = "start.json"


class StartNote(Record, frozen=True, kw_only=True):
    """What the service tells about its start.

    Attributes:
        manifest_sha256: Of the version that ran.
        outcome: ``steady`` once it ran steadily; ``no_camera`` where no camera delivered anything.
    """

    manifest_sha256: str
    outcome: Literal["steady", "no_camera"]


def may_decide(root: Path) -> bool:
    """Whether this process may change what is active."""
    return os.access(root, os.W_OK | os.X_OK)


def begin_service(root: Path, report: Say = lambda _line: None, hooks: Hooks | None = None) -> None:
    """Decides which version runs, before the service runs it.

    A trial that a power cut left open is decided; what was staged on another machine is verified here, for
    the first time on the device itself; a version that was started ``MAX_UNPROVEN_STARTS`` times and never
    ran steadily makes way for the one before.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or the files are damaged.
        DeployError: What was staged is not healthy here and there is nothing to return to, or the root is
            not writable.
    """
    layout, hooks = Layout(root), hooks or Hooks()
    require_state(layout)
    with writing(root), exclusive_lock(layout.lock):
        state = read_state(layout)
        if may_try_again(state):
            report("Deciding about the version that a power cut left on trial")
            try_slot(layout, state, hooks)
            return
        state = _with_note(recover(layout, hooks.reach), _take_note(layout))
        if does_not_stay_up(state):
            report("The new version does not stay up; returning to the one before")
            note = (
                f"version {_version(state)} was started {state.unproven_starts} times and never ran steadily"
            )
            _return(layout, state, note, hooks)
        elif _was_staged(layout, state, hooks):
            report("Verifying on this device what was staged on another machine")
            _verify_here(layout, state, hooks)
        else:
            write_state(layout, count_start(state), hooks.reach)


def require_decided(root: Path, hooks: Hooks | None = None) -> None:
    """Refuses to run what ``begin_service`` has not decided about, where only another user may decide.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or the files are damaged.
        DeployError: A change is open, or what is active was only verified on another machine.
    """
    layout, hooks = Layout(root), hooks or Hooks()
    require_state(layout)
    state = read_state(layout)
    if state.pending is not None or _was_staged(layout, state, hooks):
        raise DeployError(
            f"What is installed in {root} was not decided about yet, and this user may not.",
            f"Run first, as root: edgepose-device service-begin --root {root} (the unit does it).",
        )


def prove_service(root: Path) -> None:
    """Notes that the active version ran steadily; the next start reads it.

    Raises:
        TrustError: The state is damaged.
        DeployError: It cannot be read.
        ConfigError: The note cannot be written.
    """
    _note(root, "steady")


def excuse_service(root: Path) -> None:
    """Notes that this start had no camera, so that a missing camera never costs a version.

    Raises:
        TrustError: The state is damaged.
        DeployError: It cannot be read.
        ConfigError: The note cannot be written.
    """
    _note(root, "no_camera")


def _note(root: Path, outcome: Literal["steady", "no_camera"]) -> None:
    content = read_state(Layout(root)).active_content
    if content is not None:
        note = StartNote(manifest_sha256=content.manifest_sha256, outcome=outcome)
        # Who installs reads it, who is another user.
        write_whole(make_var(root) / _NOTE, [to_json(note).encode()], READABLE)


def _with_note(state: DeviceState, note: StartNote | None) -> DeviceState:
    content = state.active_content
    if note is None or content is None or note.manifest_sha256 != content.manifest_sha256:
        return state
    return proven(state) if note.outcome == "steady" else excused(state)


def _take_note(layout: Layout) -> StartNote | None:
    """Reads and removes the note; one that cannot be read is none, and the start counts."""
    content = read_of_service(layout.var / _NOTE)
    if content is None:
        return None
    with suppress(OSError):
        # Opened first: what the name of the folder leads to may be another one by now.
        folder = os.open(layout.var, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.unlink(_NOTE, dir_fd=folder)
        finally:
            os.close(folder)
    try:
        return from_json(content, StartNote, _NOTE)
    except EdgeposeError:
        return None


def _version(state: DeviceState) -> int:
    return state.active_content.bundle_version if state.active_content else 0


def _was_staged(layout: Layout, state: DeviceState, hooks: Hooks) -> bool:
    """Whether the active version was only checked on a machine that is not its device, and this one is."""
    content, health = state.active_content, state.health
    if content is None or state.active is None or health is None or health.verified_on == "device":
        return False
    manifest = verified_slot(layout, state, state.active).manifest
    return hooks.is_device(manifest.profile.hardware)


def _verify_here(layout: Layout, state: DeviceState, hooks: Hooks) -> None:
    content = state.active_content
    if content is None or state.active is None:
        raise ValueError("nothing is active")
    health = hooks.check_health(layout.slot(state.active), content.manifest_sha256)
    if health.passed:
        write_state(layout, verified_here(state, health, utc_now()), hooks.reach)
        return
    reason = "; ".join(health.failures)
    if state.previous_content is not None:
        _return(layout, state, f"version {content.bundle_version} is not healthy here: {reason}", hooks)
        return
    raise DeployError(
        f"Bundle version {content.bundle_version} was staged on another machine and is not healthy here: "
        f"{reason}. It does not run.",
        "Deploy another model for this device.",
    )


def _return(layout: Layout, state: DeviceState, note: str, hooks: Hooks) -> None:
    """To the version before, as ``rollback`` does it."""
    on_trial = begin_rollback(state, note)
    verified_slot(layout, on_trial, state.other_slot)
    write_state(layout, on_trial, hooks.reach)
    try_slot(layout, on_trial, hooks)
