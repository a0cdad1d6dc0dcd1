"""``status``, ``rollback`` and ``logs`` of both programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import Place, json_option, place_options
from edgepose.cli.output import say, table, write_report
from edgepose.records.deployment_report import InstallationReport
from edgepose.records.device_status import HealthReport, StatusReport
from edgepose.records.drift_record import DriftStatus

if TYPE_CHECKING:
    from edgepose.device.install.installer import InstallReport
    from edgepose.records.device_status import DeviceLogs


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


@click.command(name="status", epilog="Example: edgepose status --json -")
@place_options
@json_option
def command(place: Place, json_target: str | None) -> None:
    """Show what is installed in a device root, how it was verified, and what happened there."""
    from edgepose.device.install.installed import read_status

    if place.device is None:
        root, status = place.root, read_status(place.root)
    else:
        root, status = place.device.questions().status()
    write_report(status, json_target, describe_status(root, status))


@click.command(name="rollback", epilog="Example: edgepose rollback --root /srv/edgepose")
@place_options
@json_option
def rollback_command(place: Place, json_target: str | None) -> None:
    """Return to the version installed before; it needs no download and passes its health check first."""
    from edgepose.device.install.installer import rollback
    from edgepose.device.install.owner import become_owner

    if place.device is not None:
        remote_root, answer = place.device.questions().roll_back()
        host, version = place.device.host, answer["bundle_version"]
        write_report(answer, json_target, f"{host}: version {version} is active again in {remote_root}")
        return
    become_owner(place.root)
    installed, text = describe_install(rollback(place.root, say))
    write_report(installed, json_target, text)


@click.command(name="logs", epilog="Example: edgepose logs --host pi@camera-3 --lines 200")
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=50, show_default=True, help="Of the service's journal."
)
@place_options
@json_option
def logs_command(*, lines: int, place: Place, json_target: str | None) -> None:
    """Show what happened to a device root, and what its service wrote; no pose and no picture is in there."""
    from edgepose.device.install.installed import read_logs

    device = place.device
    logs = read_logs(place.root, lines) if device is None else device.questions().logs(lines)
    write_report(logs, json_target, _describe(logs))


def _describe(logs: DeviceLogs) -> str:
    events = [
        (event.at, event.event, event.bundle_version, event.active_version or "-", event.detail)
        for event in logs.history
    ]
    text = table(("when", "event", "version", "active", "detail"), events)
    if logs.service is None:
        return f"{text}\n\nService: no journal that this user may read."
    return f"{text}\n\nService:\n" + ("\n".join(logs.service) or "nothing")
