"""What ``status`` and ``rollback`` print about a device root."""

from __future__ import annotations

from pathlib import Path

from edgepose.cli.output import table
from edgepose.device.install.installer import InstallReport
from edgepose.records.deployment_report import InstallationReport
from edgepose.records.device_status import HealthReport, StatusReport
from edgepose.records.drift_record import DriftStatus

_SHOWN_EVENTS = 10


def describe_status(root: Path, status: StatusReport) -> str:
    """A device root in words, with the last events."""
    files = {True: "intact", False: "DAMAGED: run `edgepose rollback`, or deploy again", None: "-"}
    previous = f"version {status.previous_version}" if status.previous_version else "none"
    rows: dict[str, object] = {
        "root": root,
        "active": f"slot {status.active_slot}, version {status.bundle_version}"
        if status.active_slot
        else "nothing",
        "profile": status.profile or "-",
        "model sha256": status.model_sha256 or "-",
        "files": files[status.files_intact],
        "rollback to": previous,
        "sandbox": ", ".join(status.sandbox.mechanisms) if status.sandbox.enforced else "not enforced",
        **({"not assured": " ".join(status.sandbox.not_guaranteed)} if status.sandbox.not_guaranteed else {}),
        "signed": "yes" if status.signed else "no",
    }
    if status.writable_by_service is not None:
        rows["protected"] = (
            "no: the user who runs the model installed it and can change it"
            if status.writable_by_service
            else "yes: the user who runs the model cannot change what is installed"
        )
    if status.trust is not None:
        rows["pinned keys"] = f"root version {status.trust.root_version}, {status.trust.fingerprint}"
    if status.accelerator is not None:
        rows[status.accelerator.title.lower()] = status.accelerator.describe()
    if status.health is not None:
        rows |= _health_rows(status.health)
    if status.drift is not None:
        rows["drift"] = _drift_words(status.drift)
    events = [
        (event.at, event.event, event.bundle_version, event.active_version, event.detail)
        for event in status.history[-_SHOWN_EVENTS:]
    ]
    text = "\n".join(f"{name:<14}{value}" for name, value in rows.items())
    return text + "\n\n" + table(("when", "event", "version", "active", "detail"), events) if events else text


def _drift_words(drift: DriftStatus) -> str:
    if drift.going_on:
        names = ", ".join(f"{event.feature} since {event.since}" for event in drift.going_on)
        return f"{names}; retrain" if drift.retrain else names
    words = "learning what is usual here" if drift.learning else "none"
    return f"{words}; retrain, something drifted before" if drift.retrain else words


def describe_install(report: InstallReport) -> tuple[InstallationReport, str]:
    """A finished installation or rollback as its record and as text."""
    record = InstallationReport(
        root=str(report.root),
        active_slot=report.slot,
        bundle_version=report.bundle_version,
        previous_version=report.previous_version,
        model_sha256=report.model_sha256,
        signed_by=report.signed_by,
        health=report.health,
    )
    rows: dict[str, object] = {
        "root": report.root,
        "active": f"slot {report.slot}, version {report.bundle_version}",
        "signed": f"yes, by {report.signed_by}" if report.signed_by else "no",
        **_health_rows(report.health),
    }
    return record, "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def _health_rows(health: HealthReport) -> dict[str, object]:
    rows: dict[str, object] = {
        "verified on": f"{health.verified_on}, accelerator {health.accelerator.replace('_', ' ')}",
        "golden": f"{health.frames} frames, worst OKS {health.worst_oks}",
    }
    if health.backend is not None:
        backend = health.backend
        instead = f" instead of {backend.fallback_from}" if backend.fallback_from else ""
        rows["backend"] = (
            f"{backend.runtime} {backend.version}, {backend.delegate_used}{instead}, "
            f"{backend.ops_on_cpu} of {backend.ops_total} ops on the CPU"
        )
    if health.latency_ms is not None:
        rows["latency"] = (
            f"{health.latency_ms.p50} ms median, {health.latency_ms.p95} ms p95 on this {health.verified_on}"
        )
    return rows
