"""Installs a bundle into a device root; whatever interrupts it, one whole version stays.

Steps, each labelled in the code:

1. The root is empty or edgepose's own, and no other process works in it.
2. What an interrupted call left behind is removed.
3. The bundle is verified, fits the machine, the root and its space, and is no downgrade; a root that has
   pinned keys takes only what they signed. Until here nothing changed.
4. The state gives up the slot that does not run; only then are files written there.
5. The files are unpacked, flushed, and verified again from the disk.
6. One rename of ``state.json`` puts the slot on trial.
7. A fresh process replays the golden frames.
8. One rename of ``state.json`` makes the new version active, or drops it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgepose.device.install.health import accelerator_note, check_accelerator, run_health_check
from edgepose.device.install.layout import SLOTS, Layout
from edgepose.device.install.owner import refuse_foreign_root, require_state, writing
from edgepose.device.install.slot_files import needed_bytes, unpack, verify_slot
from edgepose.device.install.state_file import (
    FaultPoint,
    bundle_verifier,
    exclusive_lock,
    flush_folder,
    make_folder,
    no_fault,
    older_is_a_downgrade,
    read_state,
    remove_tree,
    tree_bytes,
    write_state,
)
from edgepose.device.install.transitions import (
    DeviceState,
    SlotContent,
    abandon,
    begin_install,
    begin_rollback,
    begin_trial,
    check_install,
    commit,
    count_attempt,
    installation_note,
    may_try_again,
    slots_to_clear,
)
from edgepose.errors import DeployError, EdgeposeError, TrustError
from edgepose.records.device_profile import HardwareProfile
from edgepose.records.device_status import HealthReport, SlotName
from edgepose.runtime.machine import this_is_the_device
from edgepose.trust.bundle_reader import VerifiedBundle, read_bundle
from edgepose.trust.digests import sha256_of_bytes

Say = Callable[[str], None]
HealthCheck = Callable[[Path, str], HealthReport]


@dataclass(frozen=True)
class InstallReport:
    """What an installation or a rollback did.

    Attributes:
        root: The device root.
        slot: The slot that is active now.
        bundle_version: The version that is active now.
        previous_version: The version that ``rollback`` returns to, or None.
        model_sha256: Digest of the active pose model.
        health: The health check that made it active.
        signed_by: Fingerprint of the root under which it was signed, or None for an unsigned bundle.
    """

    root: Path
    slot: SlotName
    bundle_version: int
    previous_version: int | None
    model_sha256: str
    health: HealthReport
    signed_by: str | None = None


@dataclass(frozen=True)
class Hooks:
    """Where tests reach in.

    Attributes:
        reach: Called at each of ``FAULT_POINTS``.
        check_health: Judges an unpacked bundle: folder and its manifest's digest.
        is_device: Whether this machine is the device that a profile describes.
        clock: What this machine takes for the time, UTC.
    """

    reach: FaultPoint = no_fault
    check_health: HealthCheck = field(default=run_health_check)
    is_device: Callable[[HardwareProfile], bool] = field(default=this_is_the_device)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


def install_bundle(
    bundle: Path,
    root: Path,
    *,
    allow_downgrade: bool = False,
    enroll: bytes | None = None,
    report: Say = lambda _line: None,
    hooks: Hooks | None = None,
) -> InstallReport:
    """Installs a bundle and makes it active if its health check passes.

    Args:
        bundle: The bundle file.
        root: The device root: an empty or new folder, or one that edgepose made.
        allow_downgrade: Whether it may be older than the active one.
        enroll: Root that is pinned where none is pinned yet; the bundle must be signed by it.
        report: Takes one line of progress.
        hooks: Where tests reach in.

    Raises:
        ConfigError: The root belongs to something else or to another profile, or the bundle cannot be read.
        TrustError: The bundle or the root's state is not as it must be.
        DeployError: The health check failed, the root is full or not writable, another call works in it,
            or the bundle is a downgrade. The version before is active as it was.
        DeviceError: The model is not compiled for this device's Edge TPU, or more ops than the profile allows
            are known to stay on the CPU. Nothing was changed.
    """
    layout, hooks = Layout(root), hooks or Hooks()
    before = _state_before(layout)
    verify = bundle_verifier(before.trust, enroll, hooks.clock(), allow_downgrade=allow_downgrade)
    with older_is_a_downgrade():
        verified = read_bundle(bundle, verify=verify)
    _check_machine(verified, report, hooks)
    with writing(root):
        refuse_foreign_root(layout)
        make_folder(root)
        with exclusive_lock(layout.lock):  # step 1
            hooks.reach("locked")
            state = recover(layout, hooks.reach)  # step 2
            if state.trust != before.trust:
                raise DeployError("Another installation has ended meanwhile.", "Try again.")
            content = slot_content(verified)
            check_install(state, content, allow_downgrade=allow_downgrade)  # step 3
            _check_space(layout, state, verified)
            report(f"Unpacking bundle version {content.bundle_version} into slot {state.other_slot}")
            state = _stage(layout, _announced(state, verified, content, report), bundle, hooks.reach)
            report("Replaying golden frames in a fresh process")
            return try_slot(layout, state, hooks)


def rollback(root: Path, report: Say = lambda _line: None, hooks: Hooks | None = None) -> InstallReport:
    """Returns to the version installed before, after a health check; needs no download.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or the files of the version before are damaged.
        DeployError: There is no version before, it is not healthy, the root is not writable, or another call
            works in it. The active version stays.
    """
    layout, hooks = Layout(root), hooks or Hooks()
    require_state(layout)
    with writing(root), exclusive_lock(layout.lock):
        state = recover(layout, hooks.reach)
        on_trial = begin_rollback(state)
        digest = on_trial.contents[state.other_slot].manifest_sha256
        verify_slot(layout.slot(state.other_slot), digest, state.trust)
        report(f"Checking bundle version {on_trial.contents[state.other_slot].bundle_version}")
        write_state(layout, on_trial, hooks.reach)
        hooks.reach("trial_begun")
        return try_slot(layout, on_trial, hooks)


def resume_trial(root: Path, hooks: Hooks | None = None) -> InstallReport | None:
    """Decides a trial that a power cut left open; the first thing that a device does when it starts.

    A trial has ``MAX_TRIAL_ATTEMPTS`` health checks in all, so a version that takes the device down is
    given up.

    Returns:
        What became active, or None when no trial was open or it may not be tried again.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or the files are damaged.
        DeployError: The health check failed, or the root is not writable.
    """
    layout, hooks = Layout(root), hooks or Hooks()
    require_state(layout)
    with writing(root), exclusive_lock(layout.lock):
        state = read_state(layout)
        if may_try_again(state):
            return try_slot(layout, state, hooks)
        recover(layout, hooks.reach)
        return None


def next_bundle_version(root: Path) -> int:
    """The version that the next bundle for this root should have: one above all that were active here.

    Raises:
        TrustError: The root's state is damaged.
        DeployError: It cannot be read.
    """
    return read_state(Layout(root)).highest_version + 1


def recover(layout: Layout, reach: FaultPoint) -> DeviceState:
    """Cleans up after a call that was cut off; the active version is not touched.

    Raises:
        TrustError: The state is damaged.
        OSError: Something cannot be written or removed.
    """
    state = read_state(layout)
    if state.pending is not None:
        phase = state.pending.phase
        state = abandon(state, f"cut off while {phase}", utc_now(), interrupted=True)
        write_state(layout, state, reach)
    elif not layout.state.exists():
        write_state(layout, state, reach)
    _remove_leftovers(layout, state)
    reach("leftovers_removed")
    return state


def slot_content(bundle: VerifiedBundle) -> SlotContent:
    """What the state remembers of a bundle."""
    manifest = bundle.manifest
    return SlotContent(
        bundle_version=manifest.bundle_version,
        bundle_sha256=bundle.sha256,
        manifest_sha256=sha256_of_bytes(bundle.manifest_bytes),
        model_sha256=manifest.model.sha256,
        profile_id=manifest.profile.id,
        signed_by=bundle.signed.fingerprint if bundle.signed else None,
    )


def _check_machine(bundle: VerifiedBundle, report: Say, hooks: Hooks) -> None:
    manifest = bundle.manifest
    check_accelerator(manifest, on_device=hooks.is_device(manifest.profile.hardware))
    note = accelerator_note(manifest)
    if note:
        report(note)


def _check_space(layout: Layout, state: DeviceState, bundle: VerifiedBundle) -> None:
    # What the slot holds now is removed before anything is written.
    freed = tree_bytes(layout.slot(state.other_slot))
    free, needed = shutil.disk_usage(layout.root).free + freed, needed_bytes(bundle)
    if free < needed:
        raise DeployError(
            f"{layout.root} has {free >> 10} KiB free, and the bundle needs {needed >> 10} KiB.",
            "Free some space there; nothing was changed.",
        )


def _state_before(layout: Layout) -> DeviceState:
    """The state for the judgement; what is no folder is told by the checks that follow."""
    return read_state(layout) if layout.root.is_dir() else DeviceState()


def _announced(state: DeviceState, bundle: VerifiedBundle, content: SlotContent, report: Say) -> DeviceState:
    """The state with the installation begun."""
    signed = bundle.signed
    pins = signed is not None and state.trust is None
    if pins:
        report(f"Pinning root {content.signed_by}: from now on only bundles of these keys are taken")
    note = installation_note(state, content, older=signed is not None and signed.older, pins=pins)
    return begin_install(state, content, signed.anchor if signed else None, note)


def _stage(layout: Layout, state: DeviceState, bundle: Path, reach: FaultPoint) -> DeviceState:
    """Steps 4 to 6: from a verified bundle to a slot on trial."""
    if state.pending is None:
        raise ValueError("no installation has begun")
    content = state.pending.content
    slot = layout.slot(state.other_slot)
    staging = layout.staging(state.other_slot)
    try:
        write_state(layout, state, reach)  # step 4
        reach("install_begun")
        remove_tree(slot)
        reach("slot_cleared")
        unpacked = unpack(bundle, staging, reach)  # step 5
        reach("staged")
        if unpacked.sha256 != content.bundle_sha256:
            raise TrustError(f"{bundle} changed while it was being installed.")
        verify_slot(staging, content.manifest_sha256, state.trust)
        reach("staging_verified")
        staging.rename(slot)
        flush_folder(layout.slots)
        reach("slot_renamed")
        state = begin_trial(state)
        write_state(layout, state, reach)  # step 6
    except (OSError, EdgeposeError) as problem:
        _give_up(layout, state, str(problem), reach)
        raise
    reach("trial_begun")
    return state


def try_slot(layout: Layout, state: DeviceState, hooks: Hooks) -> InstallReport:
    """Steps 7 and 8: the health check decides.

    Raises:
        DeployError: It failed; the version before is active.
        OSError: The state cannot be written.
    """
    state = count_attempt(state)
    write_state(layout, state, hooks.reach)
    hooks.reach("attempt_counted")
    health = _judged(layout, state, hooks)  # step 7
    hooks.reach("health_checked")
    if health.passed:
        state = commit(state, health, utc_now())  # step 8
        write_state(layout, state, hooks.reach)
        hooks.reach("decided")
        return _install_report(layout, state, health)
    refused = state.pending.content.bundle_version if state.pending else 0
    reason = "; ".join(health.failures)
    state = abandon(state, reason, utc_now(), interrupted=False)
    write_state(layout, state, hooks.reach)
    hooks.reach("decided")
    _remove_leftovers(layout, state)
    active = state.active_content
    stays = f"version {active.bundle_version} stays active" if active else "nothing is active"
    raise DeployError(
        f"Bundle version {refused} failed its health check and was taken back, {stays}: {reason}.",
        "Check the model with: edgepose evaluate MODEL",
    )


def _judged(layout: Layout, state: DeviceState, hooks: Hooks) -> HealthReport:
    if state.pending is None:
        raise ValueError("nothing is on trial")
    folder, digest = layout.slot(state.pending.slot), state.pending.content.manifest_sha256
    try:
        verify_slot(folder, digest, state.trust)
    except TrustError as problem:
        return HealthReport(
            passed=False, failures=(problem.message,), verified_on="host", accelerator="not_verified"
        )
    return hooks.check_health(folder, digest)


def _give_up(layout: Layout, state: DeviceState, detail: str, reach: FaultPoint) -> None:
    """Drops a staged change after an error; space first, so that the state fits on a full disk."""
    dropped = abandon(state, detail, utc_now(), interrupted=True)
    try:
        _remove_leftovers(layout, dropped)
        write_state(layout, dropped, reach)
    except OSError:
        # The first error says what is wrong, and the next call cleans up.
        return


def _remove_leftovers(layout: Layout, state: DeviceState) -> None:
    for slot in slots_to_clear(state):
        remove_tree(layout.slot(slot))
    for slot in SLOTS:
        remove_tree(layout.staging(slot))
    for path in layout.cut_off_writes():
        remove_tree(path)


def _install_report(layout: Layout, state: DeviceState, health: HealthReport) -> InstallReport:
    content, previous = state.active_content, state.previous_content
    if content is None or state.active is None:
        raise ValueError("nothing is active")
    return InstallReport(
        root=layout.root,
        slot=state.active,
        bundle_version=content.bundle_version,
        previous_version=previous.bundle_version if previous else None,
        model_sha256=content.model_sha256,
        health=health,
        signed_by=content.signed_by,
    )


def utc_now() -> str:
    """This moment as the history writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
