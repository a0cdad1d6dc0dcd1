"""``edgepose page`` and ``edgepose-device page``: the live page of a service that runs."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, port_option


@click.command(name="page", epilog="Example: edgepose-device page --socket /var/lib/edgepose/root/poses.sock")
@click.option(
    "--socket", "path", type=PATH, required=True, metavar="PATH", help="Of run or service --socket."
)
@click.option(
    "--root", type=PATH, metavar="DIR", help="Device root of the service: shows what it knows about drift."
)
@port_option
def command(path: Path, root: Path | None, port: int) -> None:
    """Show skeletons and figures of a running service in a browser on this machine, never a picture.

    The page is served on 127.0.0.1 alone; ssh -L carries it to another machine. Ends with Ctrl-C.
    """
    from edgepose.cli.output import say
    from edgepose.device.monitor.drift_page import show_page
    from edgepose.device.stop_signal import stop_requests

    with stop_requests() as stop:
        show_page(path, root, port, stop, say)
