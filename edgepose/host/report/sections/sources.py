"""The last part: every record with the model that it tells about, and versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepose import __version__
from edgepose.host.report.markup import Markup, element, joined, paragraph, table
from edgepose.host.report.material import ReportMaterial, ReportRecord

_NONE = "not stated"


def section(material: ReportMaterial) -> Markup:
    """The part; it is never left out."""
    rows = list(_rows(material))
    headers = ("record", "kind", "sha256 of the record", "sha256 of the model", "versions")
    named = [f"{digest}: {name}" for digest, name in material.data_names.items()]
    return joined(
        table("Records", headers, rows) if rows else paragraph("No records."),
        paragraph("Names of data, given by hand: " + "; ".join(named)) if named else Markup(""),
        element("p", f"Written by edgepose {__version__} from these records alone."),
    )


def _rows(material: ReportMaterial) -> Iterator[tuple[str, ...]]:
    for one in material.evaluations:
        yield _row(one, "evaluation", one.report.model.sha256, _NONE)
    for bench in material.benchmarks:
        backend = bench.report.backend
        yield _row(bench, "benchmark", bench.report.model.sha256, f"{backend.runtime} {backend.version}")
    for deployed in material.deployments:
        details = material.details[deployed.sha256]
        version = _NONE if details.bundle_version is None else f"bundle version {details.bundle_version}"
        yield _row(deployed, "deployment", details.model_sha256, version)
    for made in material.quantizations:
        yield _row(made, "quantization", made.report.model.sha256, _NONE)
    for trained in material.distillations:
        versions = ", ".join(f"{name} {version}" for name, version in trained.report.versions.items())
        yield _row(trained, "distillation", trained.report.model.sha256, versions or _NONE)
    for status in material.statuses:
        backend_report = status.report.backend
        said = _NONE if backend_report is None else f"{backend_report.runtime} {backend_report.version}"
        yield _row(status, "status", status.report.model_sha256, said)


def _row(record: ReportRecord[Any], kind: str, model: str | None, versions: str) -> tuple[str, ...]:
    return record.file_name, kind, record.sha256, model or _NONE, versions
