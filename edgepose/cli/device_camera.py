"""``edgepose-device camera``: the unit of a network camera."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH


@click.command(
    name="camera",
    epilog="Example: edgepose-device camera --address-file camera.url --share /run/edgepose-camera",
)
@click.argument("source", required=False)
@click.option("--address-file", type=PATH, metavar="FILE", help="Holds SOURCE, so that no list shows it.")
@click.option("--share", "folder", type=PATH, required=True, metavar="DIR", help="Where readers meet it.")
@click.option(
    "--allow-network-camera",
    "unfiltered",
    is_flag=True,
    help="Go on although nothing keeps this process from other addresses than the camera's.",
)
def command(source: str | None, address_file: Path | None, folder: Path, *, unfiltered: bool) -> None:
    """Read the RTSP camera SOURCE for a service that has no network: shared:///DIR is its SOURCE.

    This process may connect to the camera and to nothing else; it has no model and writes no telemetry.
    """
    from edgepose.device.capture.source_address import parse_source
    from edgepose.device.capture.supervised.sharing import share_camera
    from edgepose.spec.records import read_text

    if (source is None) == (address_file is None):
        raise click.UsageError("Give either SOURCE or --address-file.")
    text = source if address_file is None else read_text(address_file).strip()
    share_camera(parse_source(text or ""), folder, unfiltered=unfiltered)
