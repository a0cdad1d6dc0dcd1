"""Records for reports, with models that exist only by their digests."""

from __future__ import annotations

from typing import Any

import msgspec

from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import (
    BundleReport,
    DeploymentReport,
    DeploymentStep,
    InstallationReport,
)
from edgepose.records.device_status import (
    BackendReport,
    HealthLatency,
    HealthReport,
    HistoryEvent,
    SandboxReport,
    StatusReport,
)
from edgepose.records.evaluation_report import (
    BaselineReport,
    DeltaFigure,
    EvaluatedModel,
    EvaluationReport,
    GateFailure,
    GateResult,
    MetricFigure,
    SliceReport,
)
from edgepose.records.lineage import RECIPES
from edgepose.records.quantization import QuantizationReport, RepairStep, TensorError
from edgepose.records.record import to_builtins
from tests.support.card_records import METRICS, figure

FLOAT, INT8, SLOW = "f" * 64, "8" * 64, "5" * 64


def of_model(report: EvaluationReport, name: str, sha256: str, ap: MetricFigure) -> EvaluationReport:
    """The evaluation as one of another model."""
    model = EvaluatedModel(path=f"/folder/{name}", sha256=sha256, precision="float32")
    return msgspec.structs.replace(report, model=model, metrics={**report.metrics, "oks_ap": ap})


def timed(report: BenchmarkReport, sha256: str, p50: float, **changes: Any) -> BenchmarkReport:
    """The benchmark as one of another model."""
    latency = msgspec.structs.replace(report.latency_ms, p50=p50)
    model = msgspec.structs.replace(report.model, sha256=sha256)
    return msgspec.structs.replace(report, model=model, latency_ms=latency, **changes)


def against(sha256: str, lost: float = 0.012) -> BaselineReport:
    """A float parent that is better by so much AP."""
    delta = {name: DeltaFigure(value=0.001, interval_95=(-0.004, 0.006)) for name in METRICS}
    delta["oks_ap"] = DeltaFigure(value=-lost, interval_95=(-lost - 0.01, -lost + 0.004))
    return BaselineReport(
        path="/folder/float.onnx",
        sha256=sha256,
        precision="float32",
        metrics={name: figure(0.531) for name in METRICS},
        delta=delta,
    )


def part(persons: int, lost: float | None, *, gated: bool) -> SliceReport:
    """A slice with its loss."""
    delta = None
    if lost is not None:
        delta = {"oks_ap": DeltaFigure(value=-lost, interval_95=(-lost - 0.02, -lost + 0.02))}
    return SliceReport(persons=persons, oks_ap=figure(0.4), delta=delta, gated=gated)


def gate(*failures: str, passed: bool = True) -> GateResult:
    """A judgement."""
    return GateResult(
        passed=passed,
        failures=tuple(
            GateFailure(name="oks_ap_drop", message=text, value=None, limit=None) for text in failures
        ),
        not_measured=("latency_p95_ms",),
        accuracy="measured",
        profile="raspberrypi5",
    )


def health(**changes: Any) -> HealthReport:
    """A preview's health check."""
    report = HealthReport(
        passed=True,
        failures=(),
        verified_on="host",
        accelerator="not_verified",
        frames=4,
        worst_oks=0.9876,
        latency_ms=HealthLatency(p50=3.5, p95=7.25, samples=20),
        peak_rss_mib=120.0,
        backend=BackendReport(
            runtime="litert", version="2.3.0", delegate_used="xnnpack", ops_total=30, ops_on_cpu=2, threads=4
        ),
    )
    return msgspec.structs.replace(report, **changes)


def deployment(**changes: Any) -> DeploymentReport:
    """Three steps into a preview root."""
    report = DeploymentReport(
        schema="edgepose.deployment/1",
        profile="raspberrypi5",
        precision="int8",
        recipe="static_wi8_ai8",
        dry_run=False,
        plan=("convert", "install"),
        steps=(
            DeploymentStep(name="convert", detail="onnx to tflite, 30 ops", seconds=3.25),
            DeploymentStep(name="evaluate", detail="AP 0.519", seconds=12.5),
            DeploymentStep(name="install", detail="version 7 in slot b", seconds=0.5),
        ),
        gate=gate(),
        bundle=BundleReport(bundle_version=7, size_bytes=2_000_000, sha256="b" * 64, model_sha256=INT8),
        installation=InstallationReport(
            root="/somewhere", active_slot="b", bundle_version=7, model_sha256=INT8, health=health()
        ),
        root="/somewhere",
    )
    return msgspec.structs.replace(report, **changes)


def status(**changes: Any) -> StatusReport:
    """Version 7 in slot b."""
    event = HistoryEvent(at="2026-11-23T08:00:00Z", event="installed", bundle_version=7, active_version=7)
    report = StatusReport(
        active_slot="b",
        bundle_version=7,
        model_sha256=INT8,
        verified_on="host",
        backend=None,
        sandbox=SandboxReport(enforced=True, mechanisms=("seccomp",)),
        health=health(),
        history=(event,),
    )
    return msgspec.structs.replace(report, **changes)


def quantization(**changes: Any) -> QuantizationReport:
    """An int8 model with one repair and one tensor."""
    data = {
        "schema": "edgepose.quantization/1",
        "model": {
            "schema": "edgepose.model/1", "format": "tflite", "precision": "int8", "size_bytes": 1000,
            "sha256": INT8, "inputs": [], "outputs": [], "ops": {"CONV_2D": 3}, "integer_only": True,
            "float_ops": {}, "spec": None, "spec_from": "missing", "missing": [],
        },
        "recipe": to_builtins(RECIPES["static_wi8_ai8"]),
        "calibration": None,
        "tensor_errors": [],
        "agreement_oks": 0.9712,
        "agreement_crops": 32,
        "seconds": 5.0,
    }  # fmt: skip
    report = msgspec.convert(data, QuantizationReport)
    error = TensorError(
        name="conv_7", op="CONV_2D", sqnr_db=None, relative_error=0.0123, range_low=-1.0, range_high=1.0,
        channel_range_ratio=None, starved_channels=0,
    )  # fmt: skip
    repair = RepairStep(name="equalization", agreement_oks=None, kept=True)
    return msgspec.structs.replace(report, tensor_errors=(error,), repair=(repair,), **changes)
