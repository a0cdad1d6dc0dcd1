"""``edgepose-device units``: the service of systemd."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, root_option

_folder_option = click.option(
    "--systemd-dir",
    type=PATH,
    metavar="DIR",
    help="Folder of units, for a mounted card; the system's own else.",
)


@click.group(name="units", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0")
def command() -> None:
    """Install, show or remove the hardened systemd service."""


@command.command(name="show", epilog="Example: edgepose-device units show v4l2:///dev/video0")
@click.argument("source")
@root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
def show(source: str, root: Path | None, user: str) -> None:
    """Print the unit; change nothing."""
    click.echo(_text(source, root, user), nl=False)


@command.command(name="install", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0")
@click.argument("source")
@root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
@_folder_option
def install(source: str, root: Path | None, user: str, systemd_dir: Path | None) -> None:
    """Write the unit whole, enable it and start it; the one before stays where systemd refuses it."""
    from edgepose.cli.output import say
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.units.installation import UnitPlace, install_unit, prepare_user

    place = UnitPlace() if systemd_dir is None else UnitPlace(systemd_dir, live=False)
    text = _text(source, root, user)
    if place.live:
        prepare_user(user, root or default_preview_root())
    install_unit(text, place)
    say(f"{place.unit} is installed; look with: systemctl status edgepose")


@command.command(name="remove", epilog="Example: sudo edgepose-device units remove")
@_folder_option
def remove(systemd_dir: Path | None) -> None:
    """Stop the service and remove its unit."""
    from edgepose.cli.output import say
    from edgepose.device.units.installation import UnitPlace, remove_unit

    place = UnitPlace() if systemd_dir is None else UnitPlace(systemd_dir, live=False)
    say(f"{place.unit} is removed." if remove_unit(place) else f"There is no {place.unit}.")


@command.command(name="restart", epilog="Example: sudo edgepose-device units restart")
@json_option
def restart(json_target: str | None) -> None:
    """Have a running service take the version that is active now."""
    from edgepose.cli.output import write_report
    from edgepose.device.units.installation import restart_where_running

    done = restart_where_running()
    text = "The service was restarted." if done else "There is no service here that this user may restart."
    write_report({"schema": "edgepose.restart/1", "restarted": done}, json_target, text)


def _text(source: str, root: Path | None, user: str) -> str:
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.units.service_unit import ServiceRequest, service_unit

    place = (root or default_preview_root()).absolute()
    # A device has a launcher beside its root; elsewhere it is the program that runs now.
    launcher = place.parent / "bin" / "edgepose-device"
    program = launcher if launcher.is_file() else Path(sys.argv[0]).absolute()
    return service_unit(ServiceRequest(str(program), str(place), source, user))
