"""``edgepose-device calibrate``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    free_file_named,
    json_option,
    replaces,
    root_option,
    spec_option,
    threads_option,
)
from edgepose.cli.output import progress_bar, write_report


@click.command(
    name="calibrate",
    epilog="Example: edgepose-device calibrate v4l2:///dev/video0 --model float.tflite --output ranges.json",
)
@click.argument("source", required=False)
@camera_file_option
@click.option("--model", type=PATH, metavar="MODEL", help="Float model file; else what is installed runs.")
@spec_option
@click.option("--bundle", type=PATH, metavar="FILE", help="Float bundle, verified before it runs.")
@root_option
@detector_option
@detector_spec_option
@replaces(
    click.option(
        "--output",
        type=PATH,
        required=True,
        metavar="FILE.json",
        callback=free_file_named(".json"),
        help="Figures per tensor, for `edgepose quantize --ranges`.",
    )
)
@click.option(
    "--crops",
    type=click.IntRange(16, 100_000),
    default=256,
    show_default=True,
    metavar="N",
    help="End when N crops were taken in.",
)
@click.option("--max-frames", type=click.IntRange(min=1), metavar="N", help="End after N frames.")
@threads_option
@json_option
def command(  # noqa: PLR0917 (one argument an option)
    source: str | None,
    camera_file: Path | None,
    model: Path | None,
    spec_file: Path | None,
    bundle: Path | None,
    root: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    output: Path,
    crops: int,
    max_frames: int | None,
    threads: int | None,
    json_target: str | None,
) -> None:
    """Set the ranges of a float model on SOURCE (as in `run`), and export them without any picture.

    Crops that the model does not accept as a person are left out. At least 16 different ones are needed.
    """
    from edgepose.device.calibration import CalibrationRequest, calibrate
    from edgepose.device.run.estimator_choice import EstimatorChoice
    from edgepose.device.stop_signal import stop_requests

    address = camera_of(source, camera_file)
    models = EstimatorChoice(model, spec_file, bundle, root, detector, detector_spec, threads)
    request = CalibrationRequest(address, models, output, crops, max_frames)
    with stop_requests() as stop, progress_bar("crops") as progress:
        summary = calibrate(request, stop, progress)
    write_report(summary, json_target, summary.describe())
