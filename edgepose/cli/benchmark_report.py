"""How a benchmark is shown in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from edgepose.cli.output import table
from edgepose.inference.benchmark_rule import MLPERF_DURATION_S, MLPERF_SAMPLES
from edgepose.spec.benchmark_report import BenchmarkReport, ConditionRecord

_Row = tuple[str, object, str]


def describe_benchmark(report: BenchmarkReport) -> str:
    """What was measured, and what of it is no figure to publish."""
    backend = report.backend
    head = (
        f"{report.model.name} on {backend.runtime} {backend.version}, {backend.delegate_used}, "
        f"{report.threads} thread(s), {backend.ops_on_cpu} of {backend.ops_total} ops outside the delegate"
    )
    rows = [*_speed(report), *_endurance(report), *_frame_age(report)]
    return "\n".join([head, table(("what", "value", "unit"), rows), *_warnings(report)])


def _speed(report: BenchmarkReport) -> Iterator[_Row]:
    latency, stages = report.latency_ms, report.stages_ms
    yield "time a frame, p50", latency.p50, "ms"
    yield "p90 / p95 / p99", f"{latency.p90:.2f} / {latency.p95:.2f} / {latency.p99:.2f}", "ms"
    yield "preprocess", stages.preprocess, "ms"
    yield "inference", stages.infer, "ms"
    yield "decode", stages.decode, "ms"
    yield "load", report.load_ms, "ms"
    yield "first frame", report.first_inference_ms, "ms"
    yield "peak memory", report.peak_rss_mib, "MiB"
    yield "samples", report.samples, f"in {report.duration_s:.1f} s"


def _endurance(report: BenchmarkReport) -> Iterator[_Row]:
    if report.retention_10_min is not None:
        yield "speed kept over 10 min", report.retention_10_min, "of 1"
    elif report.retention is not None:
        yield "speed kept", report.retention, "of 1, last tenth over first"
    if report.conditions is not None:
        moments = (report.conditions.before, report.conditions.during, report.conditions.after)
        yield "temperature", _over_time(moments, "temperature_celsius"), "°C before / hottest / after"
        yield "CPU frequency", _over_time(moments, "cpu_mhz"), "MHz before / lowest / after"
        flags = sorted({flag for moment in moments if moment for flag in moment.throttle_flags or ()})
        yield "throttled", None if report.throttled is None else ", ".join(flags) or report.throttled, ""
    if report.energy is not None:
        yield "energy a frame", report.energy.joules_per_inference, f"J, {report.energy.source}, all it feeds"


def _frame_age(report: BenchmarkReport) -> Iterator[_Row]:
    age = report.frame_age
    if age is None:
        return
    how = "played at its own rate" if age.played else "live"
    yield "age of a frame, p50", age.age_ms.p50, f"ms, {age.source}, {how}"
    yield "p90 / p95 / p99", f"{age.age_ms.p90:.2f} / {age.age_ms.p95:.2f} / {age.age_ms.p99:.2f}", "ms"
    yield "frames", age.frames, f"in {age.duration_s:.1f} s, {age.dropped} dropped"


def _over_time(moments: tuple[ConditionRecord | None, ...], name: str) -> str | None:
    figures = [None if moment is None else getattr(moment, name) for moment in moments]
    if all(figure is None for figure in figures):
        return None
    return " / ".join("-" if figure is None else f"{figure:.0f}" for figure in figures)


def _warnings(report: BenchmarkReport) -> Iterator[str]:
    if not report.complete:
        yield (
            f"Short: {report.samples} samples in {report.duration_s:.1f} s, MLPerf Mobile asks for "
            f"{MLPERF_SAMPLES} and {MLPERF_DURATION_S:.0f} s; not a figure to publish."
        )
    if report.device.is_profile_device is False:
        yield f"This machine is not {report.device.profile}: the figures are this machine's."
