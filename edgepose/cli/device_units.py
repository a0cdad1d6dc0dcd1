"""``edgepose-device units``: the service of systemd."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import PATH, json_option, root_option

_folder_option = click.option(
    "--systemd-dir",
    type=PATH,
    metavar="DIR",
    help="Folder of units, for a mounted card; the system's own else.",
)


@click.group(name="units", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0")
def units_command() -> None:
    """Install, show or remove the hardened systemd service."""


@units_command.command(name="show", epilog="Example: edgepose-device units show v4l2:///dev/video0")
@click.argument("source", required=False)
@camera_file_option
@root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
def show(source: str | None, camera_file: Path | None, root: Path | None, user: str) -> None:
    """Print the unit, and that of a network camera; change nothing."""
    from edgepose.cli.output import show as show_text
    from edgepose.device.units.plan import plan_units

    plan = plan_units(camera_of(source, camera_file), _place(root), user, _program(root))
    show_text("\n".join(text for _, text in plan.units), end="")


@units_command.command(
    name="install", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0"
)
@click.argument("source", required=False)
@camera_file_option
@root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
@_folder_option
def install(
    source: str | None, camera_file: Path | None, root: Path | None, user: str, systemd_dir: Path | None
) -> None:
    """Write the unit whole, enable it and start it; the one before stays where systemd refuses it.

    A network camera gets a unit of its own, which may reach that camera and nothing else. Its address with
    the password comes from --camera-file: sudo logs command lines.
    """
    from edgepose.cli.output import say
    from edgepose.device.units.installation import UnitPlace, install_unit, prepare_user, write_secret
    from edgepose.device.units.plan import plan_units

    place = UnitPlace() if systemd_dir is None else UnitPlace(systemd_dir, live=False)
    plan = plan_units(camera_of(source, camera_file), _place(root), user, _program(root))
    if place.live:
        prepare_user(user, _place(root), _program(root))
    if plan.address is not None:
        write_secret(place.file_system / plan.address_file, f"{plan.address.reveal()}\n")
    for name, text in plan.units:
        unit = UnitPlace(place.folder, place.live, name)
        install_unit(text, unit)
        say(f"{unit.unit} is installed; look with: systemctl status {name}")


@units_command.command(name="remove", epilog="Example: sudo edgepose-device units remove")
@_folder_option
def remove(systemd_dir: Path | None) -> None:
    """Stop the service and remove its unit."""
    from edgepose.cli.output import say
    from edgepose.device.units.installation import UnitPlace, remove_secret, remove_unit
    from edgepose.device.units.plan import ADDRESS_PATH
    from edgepose.device.units.service_unit import CAMERA_UNIT

    place = UnitPlace() if systemd_dir is None else UnitPlace(systemd_dir, live=False)
    say(f"{place.unit} is removed." if remove_unit(place) else f"There is no {place.unit}.")
    camera = UnitPlace(place.folder, place.live, CAMERA_UNIT)
    if remove_unit(camera):
        remove_secret(place.file_system / ADDRESS_PATH)
        say(f"{camera.unit} is removed.")


@units_command.command(name="restart", epilog="Example: sudo edgepose-device units restart")
@json_option
def restart(json_target: str | None) -> None:
    """Have a running service take the version that is active now."""
    from edgepose.cli.output import write_report
    from edgepose.device.units.installation import restart_where_running

    done = restart_where_running()
    text = "The service was restarted." if done else "There is no service here that this user may restart."
    write_report({"schema": "edgepose.restart/1", "restarted": done}, json_target, text)


def _place(root: Path | None) -> Path:
    from edgepose.device.install.layout import default_preview_root

    return (root or default_preview_root()).absolute()


def _program(root: Path | None) -> Path:
    # A device has a launcher beside its root; elsewhere it is the program that runs now.
    launcher = _place(root).parent / "bin" / "edgepose-device"
    return launcher if launcher.is_file() else Path(sys.argv[0]).absolute()
