"""``edgepose-device service-begin``: the step of root that the unit takes before the service."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import root_option


@click.command(name="service-begin", epilog="Example: edgepose-device service-begin --user edgepose")
@root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
def service_begin_command(root: Path | None, user: str) -> None:
    """Decide which version the service will run; the service itself may not change what is installed.

    What a power cut left open is decided, what was staged on another machine is verified here, and a version
    that does not stay up makes way for the one before.
    """
    from edgepose.cli.output import say
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import become_owner, make_var_for
    from edgepose.device.install.service_start import begin_service

    place = root or default_preview_root()
    make_var_for(place, user)
    become_owner(place)
    begin_service(place, say)
