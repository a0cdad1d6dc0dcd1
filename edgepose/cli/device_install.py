"""``edgepose-device install``: what ``edgepose deploy --host`` calls on the device."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, root_option


@click.command(
    name="install", epilog="Example: edgepose-device install pose.epb --root /var/lib/edgepose/root"
)
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@click.option("--allow-downgrade", is_flag=True, help="Let an older bundle replace a newer one.")
@click.option(
    "--enroll",
    metavar="ROOT.json",
    help="Keys that are pinned where none are pinned yet; - is standard input.",
)
@root_option
@json_option
def command(
    bundle: Path, *, allow_downgrade: bool, enroll: str | None, root: Path | None, json_target: str | None
) -> None:
    """Verify a bundle, install it into the slot that does not run, check its health, make it active."""
    from edgepose.cli.install_report import describe_install
    from edgepose.cli.output import say, write_report
    from edgepose.cli.verification import read_root_file
    from edgepose.device.install.installer import install_bundle
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import become_owner

    pinned = None
    if enroll is not None:
        pinned = sys.stdin.buffer.read() if enroll == "-" else read_root_file(Path(enroll))
    place = root or default_preview_root()
    become_owner(place)
    installed = install_bundle(bundle, place, allow_downgrade=allow_downgrade, enroll=pinned, report=say)
    report, text = describe_install(installed)
    write_report(report, json_target, text)
