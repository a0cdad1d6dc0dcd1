"""A benchmark's record as Markdown; what was not measured says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from edgepose.host.report.markdown import Cell, Code, bullets, paragraph, table, text
from edgepose.host.report.plot_lines import thermal_words
from edgepose.host.report.wording import NOT_MEASURED, number
from edgepose.records.benchmark_report import BenchmarkReport, ConditionRecord, LatencyRecord
from edgepose.runtime.benchmark_rule import MLPERF_DURATION_S, MLPERF_SAMPLES

_ENERGY_NOTE = (
    "Energy is that of everything behind the sensor, with what it takes at rest; only figures of the same "
    "machine may be compared."
)


def benchmark_markdown(report: BenchmarkReport, plot: Path | None = None, beside: Path | None = None) -> str:
    """A page of Markdown; a plot is shown, linked from the page's own file ``beside`` it."""
    parts = [
        f"# Benchmark: {text(report.model.name)}",
        paragraph(_how_long(report)),
        table(("what", "value"), _facts(report)),
        "## Time a frame",
        table(("", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "mean ms"), _times(report)),
        table(("stage", "median ms"), _stages(report)),
        "## Heat and energy",
        table(("when", "hottest sensor °C", "CPU MHz", "slowed by"), _conditions(report)),
        bullets(_endurance(report)),
    ]
    if plot is not None:
        folder = beside.parent if beside is not None else Path()
        parts.append(f"![{text(thermal_words(report))}]({quote(os.path.relpath(plot, folder))})")
    return "\n\n".join(parts) + "\n"


def _how_long(report: BenchmarkReport) -> str:
    measured = f"{report.samples} samples in {report.duration_s:.1f} s, one after the other"
    rule = f"MLPerf Mobile's single stream asks for {MLPERF_SAMPLES} and {MLPERF_DURATION_S:.0f} s"
    if report.complete:
        return f"{measured}; {rule}."
    return f"Short: {measured}; {rule}, so this is no figure to publish."


def _facts(report: BenchmarkReport) -> Iterator[tuple[Cell, ...]]:
    device, backend, warm_up = report.device, report.backend, report.warm_up
    yield "model", Code(report.model.sha256)
    yield "kind", report.model.paradigm or NOT_MEASURED
    yield "machine", f"{device.model or 'a machine that does not tell its name'}, {device.arch}"
    if device.profile is not None:
        yield "profile", f"{device.profile}: this is {'' if device.is_profile_device else 'not '}its device"
    yield "runtime", f"{backend.runtime} {backend.version}, {backend.delegate_used}"
    yield "ops outside the delegate", f"{backend.ops_on_cpu} of {backend.ops_total}"
    yield "threads", str(report.threads)
    yield "CPU governor", device.cpu_governor or NOT_MEASURED
    yield "load", f"{report.load_ms:.1f} ms"
    yield "first inference", f"{report.first_inference_ms:.2f} ms"
    if warm_up is not None:
        yield "warm-up, not counted", f"{warm_up.samples} samples in {warm_up.duration_s:.2f} s"
    yield "peak memory", f"{report.peak_rss_mib:.0f} MiB"


def _times(report: BenchmarkReport) -> Iterator[tuple[Cell, ...]]:
    made = "picture to boxes" if report.model.paradigm == "detector" else "picture to poses"
    yield made, *_percentiles(report.latency_ms)
    age = report.frame_age
    if age is None:
        return
    how = "played at its own rate" if age.played else "live"
    detector = ", with detector" if age.detector else ""
    name = f"age of a frame from {age.source} ({how}{detector}; {age.frames} frames, {age.dropped} dropped)"
    yield name, *_percentiles(age.age_ms)


def _percentiles(times: LatencyRecord) -> tuple[str, ...]:
    return tuple(number(value, 2) for value in (times.p50, times.p90, times.p95, times.p99, times.mean))


def _stages(report: BenchmarkReport) -> Iterator[tuple[Cell, ...]]:
    stages = report.stages_ms
    yield "preprocess", number(stages.preprocess)
    yield "infer", number(stages.infer)
    yield "decode", number(stages.decode)


def _conditions(report: BenchmarkReport) -> Iterator[tuple[Cell, ...]]:
    conditions = report.conditions
    named = (
        ("before", conditions.before if conditions else None),
        ("during (hottest, slowest)", conditions.during if conditions else None),
        ("after", conditions.after if conditions else None),
    )
    for name, one in named:
        yield name, *_condition(one)


def _condition(one: ConditionRecord | None) -> tuple[str, str, str]:
    if one is None:
        return NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    flags = NOT_MEASURED if one.throttle_flags is None else ", ".join(one.throttle_flags) or "nothing"
    return number(one.temperature_celsius, 1), number(one.cpu_mhz, 0), flags


def _endurance(report: BenchmarkReport) -> Iterator[str]:
    throttled = {True: "yes", False: "no", None: NOT_MEASURED}[report.throttled]
    yield f"Slowed at any time: {throttled}."
    yield f"Speed of the last minute over the first, 10 minutes or longer: {number(report.retention_10_min)}."
    yield f"Speed of the last tenth of the samples over the first: {number(report.retention)}."
    energy = report.energy
    if energy is None:
        yield f"Energy: {NOT_MEASURED}."
        return
    yield (
        f"{energy.joules_per_inference:.4g} J an inference, {energy.watts:.2f} W on average "
        f"({energy.source}). {_ENERGY_NOTE}"
    )
