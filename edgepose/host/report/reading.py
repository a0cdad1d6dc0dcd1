"""Reads records, told apart by their schema."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError
from edgepose.host.report.material import (
    DeploymentDetails,
    ReportMaterial,
    ReportRecord,
    Sight,
    TrainingCurve,
)
from edgepose.host.report.training_log import read_training_log
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_status import HealthReport, StatusReport
from edgepose.records.distillation_report import DistillationReport
from edgepose.records.evaluation_report import EvaluationReport, GateResult
from edgepose.records.quantization import QuantizationReport
from edgepose.records.record import Record, from_builtins, read_text
from edgepose.trust.digests import sha256_of_bytes

_KINDS: dict[str, type[Record]] = {
    "edgepose.evaluation/1": EvaluationReport,
    "edgepose.benchmark/1": BenchmarkReport,
    "edgepose.deployment/1": DeploymentReport,
    "edgepose.quantization/1": QuantizationReport,
    "edgepose.distillation/1": DistillationReport,
    "edgepose.status/1": StatusReport,
}
_METRICS_LOG = "metrics.jsonl"
_SHORTEST_DIGEST = 8


@dataclass(frozen=True)
class ReportRequest:
    """What ``edgepose report`` was asked for.

    Attributes:
        records: Record files.
        title: Of the page.
        data_names: Digest of data, or its first eight or more letters, with the name of the data.
    """

    records: tuple[Path, ...]
    title: str
    data_names: tuple[tuple[str, str], ...] = ()


def read_material(request: ReportRequest, sight: Sight | None = None) -> ReportMaterial:
    """Reads all records.

    Raises:
        ConfigError: A file cannot be read, or is no record that a report understands; a name is given for
            data that nothing was measured on.
    """
    found: dict[type[Record], list[ReportRecord[Any]]] = defaultdict(list)
    details: dict[str, DeploymentDetails] = {}
    curves: dict[str, TrainingCurve] = {}
    for path in request.records:
        record = _read_record(path)
        kind = type(record.report)
        if any(record.sha256 == other.sha256 for other in found[kind]):
            continue
        found[kind].append(record)
        if isinstance(record.report, DeploymentReport):
            details[record.sha256] = _details(record.report, path)
        if isinstance(record.report, DistillationReport):
            log = path.with_name(_METRICS_LOG)
            if log.is_file():
                curves[record.sha256] = read_training_log(log)
    material = ReportMaterial(
        title=request.title,
        evaluations=tuple(found[EvaluationReport]),
        benchmarks=tuple(found[BenchmarkReport]),
        deployments=tuple(found[DeploymentReport]),
        quantizations=tuple(found[QuantizationReport]),
        distillations=tuple(found[DistillationReport]),
        statuses=tuple(found[StatusReport]),
        details=details,
        curves=curves,
        sight=sight,
    )
    return _with_names(material, request.data_names)


def _read_record(path: Path) -> ReportRecord[Record]:
    text = read_text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not valid JSON: {problem}.") from problem
    schema = data.get("schema") if isinstance(data, dict) else None
    kind = _KINDS.get(schema) if isinstance(schema, str) else None
    if kind is None:
        raise ConfigError(
            f"{path}: expected a record of {', '.join(_KINDS)}; found schema {schema!r}.",
            "Give what evaluate, benchmark, deploy, quantize or status wrote with --json, or the "
            "distillation.json beside a student.",
        )
    return ReportRecord(path.name, sha256_of_bytes(text.encode()), from_builtins(data, kind, str(path)))


def _details(report: DeploymentReport, path: Path) -> DeploymentDetails:
    installed = report.installation or {}
    gate, health = report.gate, installed.get("health")
    version, digest = installed.get("bundle_version"), (report.bundle or {}).get("model_sha256")
    return DeploymentDetails(
        gate=None if gate is None else from_builtins(gate, GateResult, f"{path}, gate"),
        health=None if health is None else from_builtins(health, HealthReport, f"{path}, health"),
        bundle_version=version if isinstance(version, int) else None,
        model_sha256=digest if isinstance(digest, str) else None,
    )


def _with_names(material: ReportMaterial, given: Sequence[tuple[str, str]]) -> ReportMaterial:
    digests = sorted({record.report.dataset.digest for record in material.all_evaluations()})
    return replace(material, data_names=dict(_whole_digest(prefix, name, digests) for prefix, name in given))


def _whole_digest(prefix: str, name: str, digests: Sequence[str]) -> tuple[str, str]:
    meant = [digest for digest in digests if digest.startswith(prefix.lower())]
    if len(prefix) < _SHORTEST_DIGEST or len(meant) != 1:
        raise ConfigError(
            f"--data {prefix}={name}: expected {_SHORTEST_DIGEST} or more letters that begin the digest of "
            f"exactly one measured data set, found {len(meant)}; there are {', '.join(digests) or 'none'}.",
            "Give dataset.digest of an evaluation record.",
        )
    return meant[0], name
