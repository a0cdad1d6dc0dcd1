"""How long a picture takes, on which machine; a device that was not measured is named."""

from __future__ import annotations

from edgepose.host.model_card.figures import NOT_MEASURED, number
from edgepose.host.model_card.markdown import Cell, paragraph, table
from edgepose.host.model_card.material import CardMaterial
from edgepose.records.benchmark_report import BenchmarkDevice, BenchmarkReport
from edgepose.runtime.benchmark import MLPERF_DURATION_S

_HEADERS = (
    "model", "device", "runtime", "threads", "p50 ms", "p95 ms", "preprocess, infer, decode ms", "memory MiB",
    "frames",
)  # fmt: skip


def latency(material: CardMaterial) -> str:
    """Picture to poses, from the benchmark records."""
    reports = [record.report for record in material.benchmarks]
    rows: list[tuple[Cell, ...]] = [_row(report, material) for report in reports]
    seen = {report.model.sha256 for report in reports}
    rows += [
        (model.file_name, *(NOT_MEASURED,) * (len(_HEADERS) - 1))
        for model in material.models
        if model.inspection.sha256 not in seen
    ]
    return f"{table(_HEADERS, rows)}\n\n{paragraph(_other_devices(reports, material.profiles))}"


def _row(report: BenchmarkReport, material: CardMaterial) -> tuple[Cell, ...]:
    backend, stages = report.backend, report.stages_ms
    outside = f", {backend.ops_on_cpu} of {backend.ops_total} ops outside it"
    short = (
        ""
        if report.duration_s >= MLPERF_DURATION_S
        else f" in {report.duration_s:.3g} s, too short to rely on"
    )
    return (
        material.name_of(report.model.sha256, report.model.name),
        _in_words(report.device),
        f"{backend.runtime} {backend.version}, {backend.delegate_used}{outside}",
        str(report.threads),
        number(report.latency_ms.p50, 2),
        number(report.latency_ms.p95, 2),
        ", ".join(number(stage, 2) for stage in (stages.preprocess, stages.infer, stages.decode)),
        number(report.peak_rss_mib, 0),
        f"{report.samples}{short}",
    )


def _in_words(device: BenchmarkDevice) -> str:
    words = f"{device.model or 'a machine that does not tell its name'}, {device.arch}"
    if device.profile is None or device.is_profile_device is None:
        return words
    return f"{words} ({'' if device.is_profile_device else 'not '}the device of profile {device.profile})"


def _other_devices(reports: list[BenchmarkReport], profiles: tuple[str, ...]) -> str:
    measured = {one.device.profile for one in reports if one.device.is_profile_device}
    missing = [name for name in profiles if name not in measured]
    if not missing:
        return "Every device that edgepose has a profile for was measured."
    return f"Other devices, {', '.join(missing)} among them: {NOT_MEASURED}."
