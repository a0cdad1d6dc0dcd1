"""``edgepose-device camera``: the unit of a network camera."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import PATH


@click.command(
    name="camera",
    epilog="Example: edgepose-device camera --camera-file camera.url --share /run/edgepose-camera",
)
@click.argument("source", required=False)
@camera_file_option
# Units that were installed before 0.13 say so.
@click.option("--address-file", "address_file", type=PATH, hidden=True)
@click.option("--share", "folder", type=PATH, required=True, metavar="DIR", help="Where readers meet it.")
@click.option(
    "--allow-network-camera",
    "unfiltered",
    is_flag=True,
    help="Go on although nothing keeps this process from other addresses than the camera's.",
)
def camera_command(
    source: str | None, camera_file: Path | None, address_file: Path | None, folder: Path, *, unfiltered: bool
) -> None:
    """Read the RTSP camera SOURCE for a service that has no network: shared:///DIR is its SOURCE.

    This process may connect to the camera and to nothing else; it has no model and writes no telemetry.
    """
    from edgepose.device.capture.supervised.sharing import share_camera

    share_camera(camera_of(source, camera_file or address_file), folder, unfiltered=unfiltered)
