"""What happens in a device root when its service starts, and once it has run steadily."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.install.durable_files import exclusive_lock
from edgepose.device.install.installer import Hooks, Say, recover, try_slot, utc_now
from edgepose.device.install.layout import Layout
from edgepose.device.install.root_access import require_state, writing
from edgepose.device.install.slot_files import verify_slot
from edgepose.device.install.state_file import read_state, write_state
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
from edgepose.errors import DeployError


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
        state = recover(layout, hooks.reach)
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


def prove_service(root: Path, hooks: Hooks | None = None) -> None:
    """Notes that the active version ran steadily.

    Raises:
        TrustError: The state is damaged.
        DeployError: The root is not writable, or another call works in it.
    """
    _note(root, proven, hooks or Hooks())


def excuse_service(root: Path, hooks: Hooks | None = None) -> None:
    """Notes that this start had no camera, so that a missing camera never costs a version.

    Raises:
        TrustError: The state is damaged.
        DeployError: The root is not writable, or another call works in it.
    """
    _note(root, excused, hooks or Hooks())


def _note(root: Path, change: Callable[[DeviceState], DeviceState], hooks: Hooks) -> None:
    layout = Layout(root)
    with writing(root), exclusive_lock(layout.lock):
        write_state(layout, change(read_state(layout)), hooks.reach)


def _version(state: DeviceState) -> int:
    return state.active_content.bundle_version if state.active_content else 0


def _was_staged(layout: Layout, state: DeviceState, hooks: Hooks) -> bool:
    """Whether the active version was only checked on a machine that is not its device, and this one is."""
    content, health = state.active_content, state.health
    if content is None or state.active is None or health is None or health.verified_on == "device":
        return False
    manifest = verify_slot(layout.slot(state.active), content.manifest_sha256)
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
    verify_slot(layout.slot(state.other_slot), on_trial.contents[state.other_slot].manifest_sha256)
    write_state(layout, on_trial, hooks.reach)
    try_slot(layout, on_trial, hooks)
