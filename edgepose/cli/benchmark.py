"""``edgepose benchmark``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import json_option, optional_profile_option, spec_option, threads_option
from edgepose.cli.output import progress_bar, say, table, write_report
from edgepose.spec.benchmark_report import BenchmarkReport
from edgepose.spec.device_profile import find_profile


@click.command(
    name="benchmark", epilog="Example: edgepose benchmark model.tflite --profile raspberrypi --duration-s 10"
)
@click.argument("model", type=click.Path(path_type=Path))
@optional_profile_option
@spec_option
@threads_option
@click.option(
    "--duration-s",
    type=click.FloatRange(0.1, 3600),
    help="Shorten the measurement; 60 s and 1,024 samples by default, as MLPerf Mobile asks.",
)
@json_option
def command(
    model: Path,
    profile_name: str | None,
    spec_file: Path | None,
    threads: int | None,
    duration_s: float | None,
    json_target: str | None,
) -> None:
    """Measure latency, memory and load time of MODEL (a model file or a bundle) on this machine."""
    from edgepose.inference.benchmark import (
        MLPERF_DURATION_S,
        MLPERF_SAMPLES,
        BenchmarkRequest,
        benchmark_model,
    )
    from edgepose.inference.bundle_model import model_file_of
    from edgepose.inference.open_model import RuntimeOptions

    profile = find_profile(profile_name) if profile_name else None
    threads = threads or (profile.runtime.threads if profile else 1)
    if duration_s is not None:
        say(f"Shortened to {duration_s:g} s: not a figure to publish.")
    with progress_bar("benchmark") as progress, model_file_of(model) as model_file:
        report = benchmark_model(
            BenchmarkRequest(
                model_file,
                spec_file,
                profile,
                RuntimeOptions(threads),
                duration_s or MLPERF_DURATION_S,
                1 if duration_s else MLPERF_SAMPLES,
                progress=progress,
            )
        )
    if report.device.is_profile_device is False:
        say(f"This machine is not {profile_name}: the figures are this machine's.")
    write_report(report, json_target, _describe(report))


def _describe(report: BenchmarkReport) -> str:
    latency, stages, backend = report.latency_ms, report.stages_ms, report.backend
    rows = [
        ("time a frame, p50", latency.p50, "ms"),
        ("p90 / p95 / p99", f"{latency.p90:.2f} / {latency.p95:.2f} / {latency.p99:.2f}", "ms"),
        ("preprocess", stages.preprocess, "ms"),
        ("inference", stages.infer, "ms"),
        ("decode", stages.decode, "ms"),
        ("load", report.load_ms, "ms"),
        ("first frame", report.first_inference_ms, "ms"),
        ("peak memory", report.peak_rss_mib, "MiB"),
        ("samples", report.samples, f"in {report.duration_s:.1f} s"),
    ]
    head = (
        f"{report.model.name} on {backend.runtime} {backend.version}, {backend.delegate_used}, "
        f"{report.threads} thread(s), {backend.ops_on_cpu} of {backend.ops_total} ops outside the delegate"
    )
    return f"{head}\n{table(('what', 'value', 'unit'), rows)}"
