"""``edgepose bundle``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    json_option,
    output_option,
    profile_option,
    spec_option,
)
from edgepose.cli.signing import open_signing, signing_options


@click.command(
    name="bundle", epilog="Example: edgepose bundle pose_int8.tflite --profile raspberrypi -o pose.epb"
)
@click.argument("model", type=PATH)
@profile_option
@output_option
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
@signing_options
@json_option
def command(  # noqa: PLR0917 (one argument an option)
    model: Path,
    profile_name: str,
    output: Path,
    spec_file: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    bundle_version: int,
    keys: Path | None,
    unsigned: bool,
    json_target: str | None,
) -> None:
    """Pack MODEL, its golden frames and a device profile into one file, and sign it where there are keys. The
    model must reproduce the poses of its float parent, and the profile must allow its format and precision.
    """  # noqa: D205
    # OpenCV and the runtime take longer to import than `--help` may.
    from edgepose.cli.output import write_report
    from edgepose.cli.verification import describe_bundle, verified_by_root
    from edgepose.host.bundle.builder import BundleRequest, build_bundle
    from edgepose.records.device_profile import find_profile

    signing = open_signing(keys, unsigned=unsigned)
    profile = find_profile(profile_name)
    request = BundleRequest(
        model=model,
        profile=profile,
        output=output,
        spec_file=spec_file,
        detector=detector,
        detector_spec_file=detector_spec,
        bundle_version=bundle_version,
        sign=signing.sign if signing else None,
    )
    verified = verified_by_root(build_bundle(request), signing.roots[-1] if signing else None)
    report, text = describe_bundle(output, verified)
    write_report(report, json_target, text)
