"""What ``edgepose-device health`` and ``verify`` print."""

from __future__ import annotations

from typing import Any

from edgepose.device.install.installed import InstalledModel
from edgepose.spec.device_status import HealthReport
from edgepose.spec.records import to_builtins


def describe_health(report: HealthReport) -> tuple[dict[str, Any], str]:
    """A health check as JSON and as text."""
    rows: dict[str, object] = {
        "healthy": "yes" if report.passed else "no",
        "verified on": f"{report.verified_on}, accelerator {report.accelerator.replace('_', ' ')}",
        "golden": f"{report.frames} frames, worst OKS {report.worst_oks}",
    }
    if report.latency_ms is not None:
        rows["latency"] = f"{report.latency_ms.p50} ms median, {report.latency_ms.p95} ms p95"
    return {"schema": "edgepose.health/1", **to_builtins(report)}, _aligned(rows)


def describe_installed(installed: InstalledModel) -> tuple[dict[str, Any], str]:
    """The checked files of an installed version as JSON and as text."""
    manifest = installed.manifest
    report = {
        "schema": "edgepose.verification/1",
        "path": str(installed.folder),
        "verified": True,
        "signed": installed.signed_by is not None,
        "signed_by": installed.signed_by,
        "manifest": to_builtins(manifest),
    }
    rows = {
        "installed": f"slot {installed.slot}, version {manifest.bundle_version}",
        "profile": manifest.profile.id,
        "model": f"{manifest.model.spec.name} {manifest.model.spec.version}, {manifest.model.precision}",
        "model sha256": manifest.model.sha256,
        **({"edge tpu": manifest.edgetpu.describe()} if manifest.edgetpu else {}),
        "files": f"{len(manifest.files)}, digests and sizes right",
        "signed": f"yes, by {installed.signed_by}" if installed.signed_by else "no",
    }
    return report, _aligned(rows)


def _aligned(rows: dict[str, object] | dict[str, str]) -> str:
    return "\n".join(f"{name:<14}{value}" for name, value in rows.items())
