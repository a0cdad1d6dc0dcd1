"""``edgepose-device service``: what the systemd unit runs."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import PATH, root_option, socket_option


@click.command(name="service", epilog="Example: edgepose-device service v4l2:///dev/video0")
@click.argument("source", required=False)
@camera_file_option
@root_option
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
    root: Path | None,
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
    from edgepose.cli.output import say
    from edgepose.device.drift.drift_choice import DriftChoice, DriftOptions
    from edgepose.device.drift.drift_limits import DriftLimits
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.observers import ObserverChoice
    from edgepose.device.service import ServicePermissions, ServiceRequest, run_service
    from edgepose.device.stop_signal import stop_requests

    place = root or default_preview_root()
    options = DriftOptions(window_s, limits=DriftLimits(learned_windows=learned_windows))
    observers = ObserverChoice(
        place if telemetry else None,
        socket_path,
        drift=DriftChoice(place, drift_hook, options) if drift else None,
    )
    permissions = ServicePermissions(network_camera, unlocked)
    request = ServiceRequest(camera_of(source, camera_file), place, output, observers, permissions)
    with stop_requests() as stop:
        summary = run_service(request, stop, say)
    say(summary.describe())
