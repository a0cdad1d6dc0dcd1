"""The health check of what is installed, at any time after the installation."""

from __future__ import annotations

from pathlib import Path

from edgepose.device.install.health import run_health_check
from edgepose.device.install.installed import installed_model
from edgepose.errors import DeviceError
from edgepose.spec.bundle_manifest import MANIFEST_NAME
from edgepose.spec.device_status import HealthReport
from edgepose.trust.digests import sha256_of_path


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
