"""What a deployment did, and what was verified where."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, number
from edgepose.host.report.markup import Markup, bullets, element, joined, paragraph, table
from edgepose.host.report.material import DeploymentDetails, ReportMaterial, ReportRecord, short
from edgepose.host.report.sections.notes import gate_in_words, health_in_words
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_status import HealthReport, StatusReport

_DATA_NOTE = (
    "This record does not name the pictures behind its figures. "
    "On drawn people they say nothing about real ones."
)


def section(material: ReportMaterial) -> Markup | None:
    """The part; None without deployments and statuses."""
    parts = [_deployment(record.report, material.details[record.sha256]) for record in material.deployments]
    parts += [_status(record) for record in material.statuses]
    return joined(*parts) if parts else None


def _deployment(report: DeploymentReport, details: DeploymentDetails) -> Markup:
    version = "" if details.bundle_version is None else f", version {details.bundle_version}"
    title = element(
        "h3", f"Deployment for {report.profile}: {report.precision}, recipe {report.recipe}{version}"
    )
    if report.dry_run:
        return joined(title, paragraph("Only planned; nothing was done."), bullets(report.plan))
    rows = [(step.name, step.detail, number(step.seconds, 1)) for step in report.steps]
    model = details.model_sha256
    shipped = NOT_MEASURED if model is None else short(model)
    return joined(
        title,
        table("Steps", ("step", "result", "seconds"), rows) if rows else paragraph("No step was recorded."),
        gate_in_words(details.gate),
        paragraph(_DATA_NOTE, class_="note"),
        health_in_words(details.health),
        _verified(details.health),
        paragraph(f"sha256 of the model that ships: {shipped}."),
    )


def _verified(health: HealthReport | None) -> Markup:
    if health is None:
        return Markup("")
    backend, latency = health.backend, health.latency_ms
    place = "host" if health.verified_on == "host" else "device"
    ran = NOT_MEASURED
    if backend is not None:
        ran = (
            f"{backend.runtime} {backend.version}, {backend.delegate_used}, {backend.threads} threads, "
            f"{backend.ops_on_cpu} of {backend.ops_total} ops outside the delegate"
        )
    rows = [
        ("lowest OKS with the expected poses", number(health.worst_oks, 4)),
        ("lowest IoU with the expected boxes", number(health.worst_detection_iou, 4)),
        (f"p50 ms on this {place}", number(None if latency is None else latency.p50, 2)),
        (f"p95 ms on this {place}", number(None if latency is None else latency.p95, 2)),
        ("memory MiB", number(health.peak_rss_mib, 0)),
        ("what ran", ran),
        ("accelerator", "verified" if health.accelerator == "verified" else "not verified"),
    ]
    return table(f"Health check, verified on the {place}", ("what", "found"), rows)


def _status(record: ReportRecord[StatusReport]) -> Markup:
    report = record.report
    if report.active_slot is None:
        said = "Nothing is installed."
    else:
        said = (
            f"Version {report.bundle_version} is active in slot {report.active_slot}, model "
            f"{short(report.model_sha256 or NOT_MEASURED)}, profile {report.profile or 'not stated'}."
        )
    sandbox = ", ".join(report.sandbox.mechanisms) or "no mechanism"
    kept = "enforced" if report.sandbox.enforced else "not enforced"
    intact = {True: "as installed", False: "changed since", None: NOT_MEASURED}[report.files_intact]
    rows = [
        (event.at, event.event, str(event.bundle_version), _version(event.active_version), event.detail)
        for event in report.history
    ]
    headers = ("at", "event", "version", "active since", "detail")
    return joined(
        element("h3", f"Status, {record.file_name}"),
        paragraph(
            f"{said} Files: {intact}. Keeping it from the network: {kept} ({sandbox}). "
            + " ".join(report.sandbox.not_guaranteed)
        ),
        health_in_words(report.health),
        _verified(report.health),
        table("History", headers, rows) if rows else paragraph("History: empty."),
    )


def _version(version: int | None) -> str:
    return "none" if version is None else str(version)
