"""What is installed in a device root, and what the service that runs it says of itself."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import (
    UNIT_NAME,
    Layout,
    default_preview_root,
    make_var,
    read_of_service,
    read_record_of_service,
    service_may_write,
)
from edgepose.device.install.slot_files import (
    VerifiedSlot,
    read_slot_manifest,
    slot_signer,
    verify_files,
    verify_slot,
)
from edgepose.device.install.state_file import read_state
from edgepose.device.install.transitions import DeviceState, SlotContent
from edgepose.errors import ConfigError, EdgeposeError, TrustError
from edgepose.records.bundle_manifest import SBOM_NAME, BundleManifest
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.device_status import (
    DeviceLogs,
    HealthReport,
    SandboxReport,
    SlotName,
    StatusReport,
    TrustReport,
)
from edgepose.records.drift_record import DriftStatus
from edgepose.records.files import READABLE, write_whole
from edgepose.records.record import Record, from_json, to_json
from edgepose.sandbox.python_child import find_program, run_words
from edgepose.trust.signed_bundle import TrustAnchor, root_fingerprint, root_version

_NAME = "running.json"


class RunningService(Record, frozen=True, kw_only=True):
    """The process that runs.

    Attributes:
        pid: Its number.
        started: When the kernel started it, in ticks since boot: a number is used again, both are not.
        sandbox: What keeps it from the network.
    """

    pid: int
    started: str
    sandbox: SandboxReport


def note_running(root: Path, sandbox: SandboxReport) -> None:
    """Notes this process as the one that runs.

    Raises:
        EdgeposeError: The file cannot be written.
    """
    pid = os.getpid()
    running = RunningService(pid=pid, started=_started(pid) or "", sandbox=sandbox)
    # ``status`` is asked by other users too; it holds no secret.
    write_whole(make_var(root) / _NAME, [to_json(running).encode()], READABLE)


def running_sandbox(root: Path) -> SandboxReport:
    """What keeps the running service from the network; nothing where none runs."""
    nothing = SandboxReport(enforced=False, mechanisms=())
    path = Layout(root).var / _NAME
    content = read_of_service(path)
    if content is None:
        return nothing
    try:
        running = from_json(content, RunningService, str(path))
    except EdgeposeError:
        return nothing
    return running.sandbox if running.started and _started(running.pid) == running.started else nothing


def _started(pid: int) -> str | None:
    """Field 22 of proc(5)'s stat; the name before it may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


# Beside the package, where a deployment over ssh puts it; an installation by pip has none.
_RUNTIME_SBOM = Path(__file__).resolve().parents[3] / SBOM_NAME


@dataclass(frozen=True)
class InstalledModel:
    """The active version, every file checked.

    Attributes:
        slot: The active slot.
        folder: Its files.
        manifest: Its manifest: specs, profile, golden frames.
        model_path: The pose model.
        detector_path: The person detector, or None.
        health: The health check that made it active.
        signed_by: Fingerprint of the root under which it was signed, or None for an unsigned bundle.
    """

    slot: SlotName
    folder: Path
    manifest: BundleManifest
    model_path: Path
    detector_path: Path | None
    health: HealthReport | None
    signed_by: str | None = None


def installed_model(root: Path | None = None) -> InstalledModel:
    """Returns the active version after checking all its files from the disk.

    Args:
        root: The device root; None takes the preview root of this machine.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or a file is damaged.
        DeployError: The state cannot be read.
    """
    layout = Layout(root or default_preview_root())
    state = read_state(layout)
    content = state.active_content
    if content is None or state.active is None:
        raise _nothing_installed(layout.root)
    folder = layout.slot(state.active)
    verified = verified_slot(layout, state, state.active)
    manifest, detector = verified.manifest, verified.manifest.detector
    return InstalledModel(
        slot=state.active,
        folder=folder,
        manifest=manifest,
        model_path=folder / manifest.model.file,
        detector_path=folder / detector.file if detector else None,
        health=state.health,
        signed_by=verified.signed_by,
    )


def installed_profile(root: Path) -> DeviceProfile | None:
    """The profile of the active version, of whose files the manifest alone is read; None without one.

    Raises:
        TrustError: The state or the manifest is damaged.
        DeployError: The state cannot be read.
    """
    layout = Layout(root)
    state = read_state(layout)
    content = state.active_content
    if content is None or state.active is None:
        return None
    return read_slot_manifest(layout.slot(state.active), content.manifest_sha256).profile


def verified_slot(layout: Layout, state: DeviceState, slot: SlotName) -> VerifiedSlot:
    """Checks a slot that the state names: who signed it, every file, and that the state tells no other story.

    Raises:
        TrustError: Something is not as it must be.
    """
    content = state.contents[slot]
    verified = verify_slot(layout.slot(slot), content.manifest_sha256, state.trust)
    _check_story(layout, content, verified.manifest)
    return verified


def read_status(root: Path) -> StatusReport:
    """Says what is installed, how it was verified and what happened before.

    Raises:
        ConfigError: edgepose never installed anything there.
        TrustError: The state is damaged, or says of the active version what is not signed. Damaged files are
            not an error here but ``files_intact: false``.
        DeployError: The state cannot be read.
    """
    layout = Layout(root)
    if not layout.state.is_file():
        raise _nothing_installed(root)
    state = read_state(layout)
    content, previous, health = state.active_content, state.previous_content, state.health
    signed_by, manifest = _active_files(layout, state)
    compiled = manifest.accelerator if manifest else None
    return StatusReport(
        active_slot=state.active,
        bundle_version=content.bundle_version if content else None,
        model_sha256=content.model_sha256 if content else None,
        verified_on=health.verified_on if health else None,
        backend=health.backend if health else None,
        sandbox=running_sandbox(root),
        health=health,
        history=state.history,
        profile=content.profile_id if content else None,
        previous_version=previous.bundle_version if previous else None,
        files_intact=None if content is None else manifest is not None,
        signed=signed_by is not None,
        edgetpu=compiled.without_name() if compiled and compiled.name == "edgetpu" else None,
        trust=_trust_report(state.trust) if state.trust else None,
        drift=_drift(root, content.model_sha256) if content else None,
        writable_by_service=service_may_write(root),
        runtime_sbom=str(_RUNTIME_SBOM) if _RUNTIME_SBOM.is_file() else None,
        accelerator=compiled,
    )


def _drift(root: Path, model_sha256: str) -> DriftStatus | None:
    status = read_record_of_service(Layout(root).drift / "status.json", DriftStatus)
    return status if status is not None and status.model_sha256 == model_sha256 else None


def pinned_keys(root: Path | None = None) -> TrustAnchor | None:
    """Whom a device believes; None where nothing is pinned, or nothing is there.

    Args:
        root: The device root; None takes the preview root of this machine.

    Raises:
        TrustError: The state is damaged.
        DeployError: The state cannot be read.
    """
    return read_state(Layout(root or default_preview_root())).trust


def _active_files(layout: Layout, state: DeviceState) -> tuple[str | None, BundleManifest | None]:
    """Who signed the active version, and its manifest; None for that where a file is damaged."""
    content = state.active_content
    if content is None or state.active is None:
        return None, None
    folder = layout.slot(state.active)
    signed_by = slot_signer(folder, content.manifest_sha256, state.trust)
    if signed_by is None and content.signed_by is not None:
        raise _other_story(layout, "says that it is signed, and nobody signed it")
    try:
        manifest = verify_files(folder, content.manifest_sha256)
    except TrustError:
        return signed_by, None
    _check_story(layout, content, manifest)
    return signed_by, manifest


def _check_story(layout: Layout, content: SlotContent, manifest: BundleManifest) -> None:
    told = (content.bundle_version, content.model_sha256, content.profile_id)
    if told != (manifest.bundle_version, manifest.model.sha256, manifest.profile.id):
        raise _other_story(layout, "has another version, model or profile than its manifest")


def _other_story(layout: Layout, what: str) -> TrustError:
    return TrustError(f"{layout.state} is refused: what it calls the active version {what}.", "Deploy again.")


def _trust_report(anchor: TrustAnchor) -> TrustReport:
    return TrustReport(
        fingerprint=root_fingerprint(anchor.root),
        root_version=root_version(anchor),
        newest_signed_at=anchor.signed_at,
    )


def _nothing_installed(root: Path) -> ConfigError:
    return ConfigError(f"Nothing is installed in {root}.", "Run: edgepose deploy --profile ID --model MODEL")


_TIMEOUT_S = 30


def service_lines(count: int) -> tuple[str, ...] | None:
    """The newest lines, oldest first; None where there is no journal that this user may read.

    Args:
        count: How many.
    """
    program = find_program("journalctl")
    if program is None:
        return None
    call = [program, "--unit", UNIT_NAME, "--lines", str(count), "--no-pager", "--output", "short-iso"]
    try:
        done = run_words(call, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    return tuple(line for line in done.stdout.splitlines() if not line.startswith("-- "))


def read_logs(root: Path, lines: int) -> DeviceLogs:
    """What happened to a device root, with so many lines of its service.

    Raises:
        EdgeposeError: As ``read_status`` raises.
    """
    return DeviceLogs(
        schema="edgepose.logs/1",
        root=str(root),
        history=read_status(root).history,
        service=service_lines(lines),
    )
