"""``edgepose benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.benchmark_options import length_options, source_of, source_options
from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    free_file,
    host_options,
    optional_profile_option,
    record_option,
    replaces,
    spec_option,
    threads_option,
)

if TYPE_CHECKING:
    from edgepose.records.benchmark_report import BenchmarkReport


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
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    markdown: Path | None,
    plot: Path | None,
    json_target: str | None,
) -> None:
    """Measure latency, memory, load time, heat and energy of MODEL on this machine: a pose model, a person
    detector or a bundle. With --host, of what is installed there, which must be MODEL where that is given.
    """  # noqa: D205
    if model is None and host is None:
        raise click.UsageError("Give MODEL, or --host for what is installed on a device.")
    address = source_of(source, camera_file)
    from edgepose.cli.benchmark_options import describe_benchmark
    from edgepose.cli.output import say, write_report

    if host is not None:
        if (profile_name, spec_file, detector, detector_spec) != (None,) * 4:
            raise click.UsageError("What is installed behind --host has its own profile, spec and detector.")
        from edgepose.cli.remote import remote_benchmark

        report = remote_benchmark(
            (host, host_fingerprint, ssh_config), model, threads, (duration_s, samples), address
        )
    else:
        from edgepose.cli.benchmark_options import benchmark_here
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
