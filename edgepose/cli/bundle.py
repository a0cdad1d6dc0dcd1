"""``edgepose bundle``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    json_option,
    profile_option,
    spec_option,
)


@click.command(
    name="bundle", epilog="Example: edgepose bundle pose_int8.tflite --profile raspberrypi -o pose.epb"
)
@click.argument("model", type=PATH)
@profile_option
@click.option(
    "-o", "--output", "output", type=PATH, required=True, metavar="FILE.epb", help="Bundle to write."
)
@spec_option
@detector_option
@detector_spec_option
@click.option(
    "--bundle-version",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Must grow for each device; a lower one is a downgrade.",
)
@json_option
def command(  # noqa: PLR0917 (one argument an option)
    model: Path,
    profile_name: str,
    output: Path,
    spec_file: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    bundle_version: int,
    json_target: str | None,
) -> None:
    """Pack MODEL, its golden frames and a device profile into one file. The model must reproduce the
    poses of its float parent, and the profile must allow its format and precision.
    """  # noqa: D205
    # OpenCV and the runtime take longer to import than `--help` may.
    from edgepose.cli.bundle_report import describe_bundle
    from edgepose.cli.output import write_report
    from edgepose.host.bundle.builder import BundleRequest, build_bundle
    from edgepose.spec.device_profile import find_profile
    from edgepose.trust.bundle_reader import read_bundle

    profile = find_profile(profile_name)
    request = BundleRequest(
        model=model,
        profile=profile,
        output=output,
        spec_file=spec_file,
        detector=detector,
        detector_spec_file=detector_spec,
        bundle_version=bundle_version,
    )
    report, text = describe_bundle(output, read_bundle(build_bundle(request)))
    write_report(report, json_target, text)
