"""``edgepose-device`` as a service: service, service-begin, units, camera."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import PATH, json_option, local_root_option, socket_option
from edgepose.cli.output import say, write_report

if TYPE_CHECKING:
    from edgepose.records.device_profile import DeviceProfile


@click.command(name="service", epilog="Example: edgepose-device service v4l2:///dev/video0")
@click.argument("source", required=False)
@camera_file_option
@local_root_option
@click.option("--output", type=PATH, metavar="POSES.jsonl", help="Add a JSON line a frame; none by default.")
@socket_option
@click.option(
    "--telemetry/--no-telemetry", default=True, show_default=True, help="Count minutes in the device root."
)
@click.option(
    "--drift/--no-drift", default=True, show_default=True, help="Watch whether pictures change for the model."
)
@click.option(
    "--drift-hook",
    metavar="COMMAND",
    help="Run by the shell at each event of drift, which it gets as JSON on its standard input; in "
    "ROOT/var/drift/hook, with PATH, LANG, HOME, TMPDIR and EDGEPOSE_ROOT alone, for at most 60 s.",
)
@click.option(
    "--drift-window",
    "window_s",
    type=click.FloatRange(1.0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="What is compared is so long; three in a row begin or end an event.",
)
@click.option(
    "--drift-learn",
    "learned_windows",
    type=click.IntRange(3),
    default=288,
    show_default=True,
    metavar="WINDOWS",
    help="Learn so many windows as usual for this camera first; 288 of five minutes are a day.",
)
@click.option(
    "--allow-network-camera",
    "network_camera",
    is_flag=True,
    help="Let the capture process connect to an RTSP camera, although no unit keeps it from other addresses.",
)
@click.option(
    "--allow-unlocked", "unlocked", is_flag=True, help="Run even where the kernel cannot lock frames in."
)
def command(  # noqa: PLR0917 (one argument an option)
    source: str | None,
    camera_file: Path | None,
    root: Path,
    output: Path | None,
    socket_path: Path | None,
    telemetry: bool,
    drift: bool,
    drift_hook: str | None,
    window_s: float,
    learned_windows: int,
    network_camera: bool,
    unlocked: bool,
) -> None:
    """Run the installed model on SOURCE for good, as a service of systemd.

    First it decides what a power cut left open, verifies what was staged on another machine, and returns to
    the version before where the new one does not stay up.
    """
    from edgepose.device.monitor.drift_sink import DriftChoice, DriftOptions
    from edgepose.device.monitor.drift_watch import DriftLimits
    from edgepose.device.run.observers import ObserverChoice
    from edgepose.device.run.service import ServicePermissions, ServiceRequest, run_service
    from edgepose.device.stop_signal import stop_requests

    options = DriftOptions(window_s, limits=DriftLimits(learned_windows=learned_windows))
    observers = ObserverChoice(
        root if telemetry else None,
        socket_path,
        drift=DriftChoice(root, drift_hook, options) if drift else None,
    )
    permissions = ServicePermissions(network_camera, unlocked)
    request = ServiceRequest(camera_of(source, camera_file), root, output, observers, permissions)
    with stop_requests() as stop:
        summary = run_service(request, stop, say)
    say(summary.describe())


@click.command(name="service-begin", epilog="Example: edgepose-device service-begin --user edgepose")
@local_root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
def service_begin_command(root: Path, user: str) -> None:
    """Decide which version the service will run; the service itself may not change what is installed.

    What a power cut left open is decided, what was staged on another machine is verified here, and a version
    that does not stay up makes way for the one before.
    """
    from edgepose.device.install.owner import become_owner, make_var_for
    from edgepose.device.install.service_start import begin_service

    make_var_for(root, user)
    become_owner(root)
    begin_service(root, say)


_folder_option = click.option(
    "--systemd-dir",
    type=PATH,
    metavar="DIR",
    help="Folder of units, for a mounted card; the system's own else.",
)


@click.group(name="units", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0")
def units_command() -> None:
    """Install, show or remove the hardened systemd service."""


_profile_option = click.option(
    "--profile",
    "profile_name",
    metavar="ID",
    help="Whose accelerator the service may open; that of the installed bundle else.",
)


@units_command.command(name="show", epilog="Example: edgepose-device units show v4l2:///dev/video0")
@click.argument("source", required=False)
@camera_file_option
@local_root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
@_profile_option
def show(
    source: str | None, camera_file: Path | None, root: Path, user: str, profile_name: str | None
) -> None:
    """Print the unit, and that of a network camera, as they would be on a device; change nothing."""
    from edgepose.cli.output import show as show_text
    from edgepose.device.units.service_unit import plan_units

    root = root.absolute()
    profile = _profile(root, profile_name)
    plan = plan_units(camera_of(source, camera_file), root, user, _program(root), profile)
    show_text("\n".join(text for _, text in plan.units), end="")


@units_command.command(
    name="install", epilog="Example: sudo edgepose-device units install v4l2:///dev/video0"
)
@click.argument("source", required=False)
@camera_file_option
@local_root_option
@click.option("--user", default="edgepose", show_default=True, help="User of the service.")
@_profile_option
@_folder_option
def install(
    source: str | None,
    camera_file: Path | None,
    root: Path,
    user: str,
    profile_name: str | None,
    systemd_dir: Path | None,
) -> None:
    """Write the unit whole, enable it and start it; the one before stays where systemd refuses it.

    A network camera gets a unit of its own, which may reach that camera and nothing else. Its address with
    the password comes from --camera-file: sudo logs command lines.
    """
    from edgepose.device.units.installation import (
        UnitPlace,
        group_names,
        install_unit,
        prepare_user,
        write_secret,
    )
    from edgepose.device.units.service_unit import plan_units

    root = root.absolute()
    place = UnitPlace() if systemd_dir is None else UnitPlace(systemd_dir, live=False)
    profile, groups = _profile(root, profile_name), group_names(place.file_system)
    has_group = groups.__contains__
    plan = plan_units(camera_of(source, camera_file), root, user, _program(root), profile, has_group)
    if profile is None:
        say("No bundle is installed yet: without --profile the service may open no accelerator.")
    if place.live:
        prepare_user(user, root, _program(root))
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
    from edgepose.device.units.installation import UnitPlace, remove_secret, remove_unit
    from edgepose.device.units.service_unit import ADDRESS_PATH, CAMERA_UNIT

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
    from edgepose.device.units.installation import restart_where_running

    done = restart_where_running()
    text = "The service was restarted." if done else "There is no service here that this user may restart."
    write_report({"schema": "edgepose.restart/1", "restarted": done}, json_target, text)


def _profile(root: Path, name: str | None) -> DeviceProfile | None:
    from edgepose.device.install.installed import installed_profile
    from edgepose.records.device_profile import find_profile

    return find_profile(name) if name is not None else installed_profile(root)


def _program(root: Path) -> Path:
    # A device has a launcher beside its root; elsewhere it is the program that runs now.
    launcher = root.parent / "bin" / "edgepose-device"
    return launcher if launcher.is_file() else Path(sys.argv[0]).absolute()


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
    from edgepose.device.capture.supervised.shared_camera import share_camera

    share_camera(camera_of(source, camera_file or address_file), folder, unfiltered=unfiltered)
