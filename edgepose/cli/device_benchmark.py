"""``edgepose-device benchmark``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.benchmark_options import benchmark_here, length_options, source_of, source_options
from edgepose.cli.options import json_option, root_option, threads_option


@click.command(name="benchmark", epilog="Example: edgepose-device benchmark --source v4l2:///dev/video0")
@root_option
@threads_option
@length_options
@source_options
@json_option
def command(  # noqa: PLR0917 (one argument an option)
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
    from edgepose.cli.benchmark_report import describe_benchmark
    from edgepose.cli.output import write_report
    from edgepose.device.estimator_choice import EstimatorChoice

    address = source_of(source, camera_file)
    choice = EstimatorChoice(root=root, threads=threads)
    report = benchmark_here(
        choice, None, (duration_s, samples), address, unlocked=unlocked, json_target=json_target
    )
    write_report(report, json_target, describe_benchmark(report))
