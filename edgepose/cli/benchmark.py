"""``benchmark`` of both programs: measure, show in the terminal, write for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import (
    PATH,
    Device,
    detector_option,
    detector_spec_option,
    free_file,
    host_options,
    json_option,
    optional_profile_option,
    record_option,
    replaces,
    root_option,
    spec_option,
    threads_option,
)
from edgepose.cli.output import progress_bar, say, table, write_report
from edgepose.records.benchmark_report import BenchmarkReport, ConditionRecord
from edgepose.runtime.benchmark_rule import MLPERF_DURATION_S, MLPERF_SAMPLES

if TYPE_CHECKING:
    from edgepose.device.capture.source_address import SourceAddress
    from edgepose.device.run.estimator_choice import EstimatorChoice
    from edgepose.records.device_profile import DeviceProfile


_duration_option = click.option(
    "--duration-s",
    type=click.FloatRange(0.1, 86400),
    metavar="S",
    help="Shortest time; 60 s as MLPerf Mobile asks. From 600 s on, the speed kept over 10 minutes.",
)
_samples_option = click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Fewest timed frames; 1,024 as MLPerf Mobile asks.",
)
_source_option = click.option(
    "--source", metavar="SOURCE", help="Also the age of frames, end to end: a camera, or a video as one."
)
_unlocked_option = click.option(
    "--allow-unlocked",
    "unlocked",
    is_flag=True,
    help="Look at a camera even where the kernel cannot lock frames in.",
)


def length_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--duration-s`` and ``--samples``."""
    decorated: Callable[..., Any] = _duration_option(_samples_option(command))
    return decorated


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--source``, ``--camera-file`` and ``--allow-unlocked``."""
    decorated: Callable[..., Any] = _source_option(camera_file_option(_unlocked_option(command)))
    return decorated


def source_of(source: str | None, camera_file: Path | None) -> SourceAddress | None:
    """What ``--source`` and ``--camera-file`` name; None where neither was given.

    Raises:
        ConfigError: It is of no use.
    """
    return None if source is None and camera_file is None else camera_of(source, camera_file, "--source")


def benchmark_here(
    models: EstimatorChoice,
    profile: DeviceProfile | None,
    length: tuple[float | None, int | None],
    source: SourceAddress | None,
    *,
    unlocked: bool,
    json_target: str | None,
) -> BenchmarkReport:
    """Measures on this machine, without a source no age of frames; ``--json`` is written in the end."""
    if models.detector is not None and source is None:
        raise click.UsageError("--detector is measured with --source alone; give it as MODEL otherwise.")
    from edgepose.device.capture.supervised.supervisor import CaptureOptions
    from edgepose.device.run.benchmark import ModelBenchmark, benchmark_chosen
    from edgepose.device.run.loop import live_lock
    from edgepose.device.sandbox.lock import folders_of_outputs
    from edgepose.runtime.benchmark_rule import length_asked

    writable = folders_of_outputs([json_target])
    lock = None if source is None else live_lock(source, say, unlocked=unlocked, writable=writable)
    with progress_bar("benchmark") as progress:
        return benchmark_chosen(
            ModelBenchmark(
                models,
                profile,
                length_asked(*length),
                source,
                lock,
                CaptureOptions(lock=not unlocked, say=say),
                progress,
            )
        )


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


@click.command(name="benchmark", epilog="Example: edgepose-device benchmark --source v4l2:///dev/video0")
@root_option
@threads_option
@length_options
@source_options
@json_option
def device_benchmark_command(  # noqa: PLR0917 (one argument an option)
    root: Path | None,
    threads: int | None,
    duration_s: float | None,
    samples: int | None,
    source: str | None,
    camera_file: Path | None,
    unlocked: bool,
    json_target: str | None,
) -> None:
    """Measure latency, memory, load time, heat and energy of the installed model. Nothing is sent.

    Stop the service first, or the figures are those of two programs on one device.
    """
    from edgepose.device.run.estimator_choice import EstimatorChoice

    address = source_of(source, camera_file)
    choice = EstimatorChoice(root=root, threads=threads)
    report = benchmark_here(
        choice, None, (duration_s, samples), address, unlocked=unlocked, json_target=json_target
    )
    write_report(report, json_target, describe_benchmark(report))


@click.command(
    name="benchmark",
    epilog="Example: edgepose benchmark model.tflite --profile raspberrypi --markdown speed.md",
)
@click.argument("model", type=PATH, required=False)
@optional_profile_option
@spec_option
@detector_option
@detector_spec_option
@threads_option
@length_options
@source_options
@host_options
@replaces(
    click.option(
        "--markdown", type=PATH, metavar="FILE.md", callback=free_file, help="Write the figures as Markdown."
    )
)
@replaces(
    click.option(
        "--plot",
        type=PATH,
        metavar="FILE.svg",
        callback=free_file,
        help="Draw speed and heat over the time as SVG.",
    )
)
@record_option("edgepose.benchmark/1")
def command(  # noqa: PLR0917 (one argument an option)
    model: Path | None,
    profile_name: str | None,
    spec_file: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    threads: int | None,
    duration_s: float | None,
    samples: int | None,
    source: str | None,
    camera_file: Path | None,
    unlocked: bool,
    device: Device | None,
    markdown: Path | None,
    plot: Path | None,
    json_target: str | None,
) -> None:
    """Measure latency, memory, load time, heat and energy of MODEL on this machine: a pose model, a person
    detector or a bundle. With --host, of what is installed there, which must be MODEL where that is given.
    """  # noqa: D205
    if model is None and device is None:
        raise click.UsageError("Give MODEL, or --host for what is installed on a device.")
    address = source_of(source, camera_file)
    if device is not None:
        if (profile_name, spec_file, detector, detector_spec) != (None,) * 4:
            raise click.UsageError("What is installed behind --host has its own profile, spec and detector.")
        questions = device.questions()
        given = {"--threads": threads, "--duration-s": duration_s, "--samples": samples}
        options = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        hidden: list[bytes] = []
        if address is not None and address.kind == "rtsp":
            # A command line on the device would show its password there.
            options, hidden = [*options, "--camera-file", "-"], [address.reveal().encode()]
        elif address is not None:
            options = [*options, "--source", address.typed]
        report = questions.benchmark(model, options, hidden, duration_s or 0.0)
    else:
        from edgepose.device.run.estimator_choice import EstimatorChoice
        from edgepose.records.device_profile import find_profile
        from edgepose.runtime.bundle_model import is_bundle

        bundled = model is not None and is_bundle(model)
        choice = EstimatorChoice(
            None if bundled else model,
            spec_file,
            model if bundled else None,
            None,
            detector,
            detector_spec,
            threads,
        )
        profile = find_profile(profile_name) if profile_name else None
        report = benchmark_here(
            choice, profile, (duration_s, samples), address, unlocked=unlocked, json_target=json_target
        )
    # The record first: it took minutes.
    write_report(report, json_target, describe_benchmark(report))
    _write_files(report, markdown, plot)
    if json_target == "-" and not report.complete:
        say("Short: not a figure to publish.")


def _write_files(report: BenchmarkReport, markdown: Path | None, plot: Path | None) -> None:
    if markdown is None and plot is None:
        return
    from edgepose.host.report.benchmark_page import benchmark_markdown
    from edgepose.host.report.plot_lines import standalone_thermal_plot
    from edgepose.records.files import write_whole

    if plot is not None:
        write_whole(plot, [standalone_thermal_plot(report).encode()])
    if markdown is not None:
        write_whole(markdown, [benchmark_markdown(report, plot, markdown).encode()])
