"""The health check in a fresh process, and whether a bundle may run with the profile's accelerator."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepose.accelerators import HEALTH_TIMEOUT_S, accelerator
from edgepose.device.install.installed import installed_model
from edgepose.device.install.layout import engine_cache_beside
from edgepose.device.install.slot_files import read_slot_manifest
from edgepose.errors import DeviceError, EdgeposeError, TrustError
from edgepose.records.bundle_manifest import MANIFEST_NAME, BundleManifest
from edgepose.records.device_status import HealthReport
from edgepose.records.record import from_json
from edgepose.sandbox.python_child import python_command, run_words
from edgepose.trust.digests import sha256_of_path

_MODULE = "edgepose.device.install.health_process"


def run_health_check(folder: Path, manifest_sha256: str, timeout_s: float | None = None) -> HealthReport:
    """Checks an unpacked bundle in a fresh process.

    A process that crashes, hangs or reports nothing is a failed check.

    Args:
        folder: The unpacked bundle.
        manifest_sha256: Digest of its manifest.
        timeout_s: The process is killed after this long; None takes what the profile's delegate needs.
    """
    arguments = ["--folder", os.fspath(folder.resolve()), "--manifest-sha256", manifest_sha256]
    arguments += ["--engine-cache", os.fspath(engine_cache_beside(folder).absolute())]
    command = python_command(_MODULE, arguments)
    return report_of(command, timeout_s or _timeout_s(folder, manifest_sha256), _service_user(folder))


def report_of(command: Sequence[str], timeout_s: float, user: int = 0) -> HealthReport:
    """Runs a command that writes a report to ``--report-fd``.

    Args:
        command: The command.
        timeout_s: It is killed after this long.
        user: Number of the user whose rights root gives it; 0 keeps those of this process.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        try:
            process = run_words(
                [*command, "--report-fd", str(writer)],
                pass_fds=(writer,),
                timeout_s=timeout_s,
                **_rights(user),
            )
        except subprocess.TimeoutExpired:
            return _failed(f"the health check did not end within {timeout_s:.0f} s")
        except OSError as problem:
            # The user of the service may not be allowed to read this Python.
            who = f" with the rights of user {user}" if user else ""
            return _failed(f"the health check cannot be started{who} ({problem.strerror})")
        finally:
            os.close(writer)
        # A report is a few kilobytes, and a pipe holds 64: no writer waits for a reader.
        content = stream.read()
    if process.returncode != 0:
        return _failed(_ending(process.returncode, process.stderr))
    try:
        return from_json(content, HealthReport, "The health report")
    except EdgeposeError as problem:
        return _failed(problem.message)


def _service_user(folder: Path) -> int:
    """The user of the service, where root checks for it: root reads no model."""
    var = engine_cache_beside(folder).parent
    return var.lstat().st_uid if os.geteuid() == 0 and os.path.lexists(var) else 0


def _rights(user: int) -> dict[str, Any]:
    if user == 0:
        return {}
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return {"user": user, "group": user, "extra_groups": []}
    # Accelerators and cameras are opened by groups.
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"user": user, "group": entry.pw_gid, "extra_groups": groups}


def _timeout_s(folder: Path, manifest_sha256: str) -> float:
    try:
        runtime = read_slot_manifest(folder, manifest_sha256).profile.runtime
    except (TrustError, OSError):
        # The process itself says what is wrong with the manifest.
        return HEALTH_TIMEOUT_S
    return max(accelerator(name).health_timeout_s for name in (runtime.delegate, *runtime.fallback))


def _ending(code: int, stderr: str) -> str:
    if code < 0:
        return f"the health check was ended by signal {-code} ({signal.strsignal(-code)})"
    lines = stderr.strip().splitlines()
    return f"the health check ended with code {code}: {lines[-1] if lines else 'no message'}"


def _failed(reason: str) -> HealthReport:
    return HealthReport(passed=False, failures=(reason,), verified_on="host", accelerator="not_verified")


def check_installed(root: Path | None = None) -> HealthReport:
    """Replays the golden frames through the installed model in a fresh process; changes nothing.

    Args:
        root: The device root; None takes the preview root of this machine.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or a file is damaged.
        DeployError: The state cannot be read.
    """
    # All files of the slot were just checked, the manifest among them, so its digest is the right one.
    folder = installed_model(root).folder
    return run_health_check(folder, sha256_of_path(folder / MANIFEST_NAME))


def require_healthy(report: HealthReport) -> None:
    """Turns a failed check into an error.

    Raises:
        DeviceError: The check failed.
    """
    if not report.passed:
        raise DeviceError(
            f"The installed model is not healthy: {'; '.join(report.failures)}.",
            "Run: edgepose-device rollback",
        )


def check_accelerator(manifest: BundleManifest, *, on_device: bool) -> None:
    """Refuses a model that is not compiled for the device's accelerator, or leaves too much to the CPU.

    A prediction refuses nothing: only what the compiler said counts.

    Args:
        manifest: The bundle.
        on_device: Whether this machine is the profile's device; elsewhere the bundle is a preview on the CPU.

    Raises:
        DeviceError: The device cannot run the bundle.
    """
    runtime, record = manifest.profile.runtime, manifest.accelerator
    wanted = accelerator(runtime.delegate)
    if not wanted.compiler:
        return
    if on_device and (record is None or record.status != "compiled"):
        raise DeviceError(
            f"The model of bundle version {manifest.bundle_version} is not compiled for the {wanted.title}; "
            f"profile '{manifest.profile.id}' needs it on the device.",
            f"Build the bundle on a computer with {wanted.compiler} on PATH; this one serves a preview only.",
        )
    limit = runtime.max_ops_on_cpu
    if record is None or record.ops_on_cpu is None or limit is None or record.ops_on_cpu <= limit:
        return
    named = f": {'; '.join(record.refused)}" if record.refused else ""
    raise DeviceError(
        f"{record.ops_on_cpu} of {record.ops_total} ops would run on the CPU beside the {wanted.title}, "
        f"profile '{manifest.profile.id}' allows {limit}{named}.",
        f"Change the model so that the {wanted.title} takes these ops, or allow more in "
        "runtime.max_ops_on_cpu.",
    )


def accelerator_note(manifest: BundleManifest) -> str | None:
    """What an installation has to say about the accelerator, or None where there is nothing to say."""
    runtime, record = manifest.profile.runtime, manifest.accelerator
    wanted = accelerator(runtime.delegate)
    if not wanted.compiler:
        return None
    if record is None:
        return f"{wanted.title}: not compiled"
    note = f"{wanted.title}: {record.describe()}"
    limit = runtime.max_ops_on_cpu
    if record.status == "not compiled" and limit is not None and record.predicted_ops_on_cpu > limit:
        named = f": {'; '.join(record.refused)}" if record.refused else ""
        note += f". That is more than the {limit} that the profile allows{named}"
    return note
