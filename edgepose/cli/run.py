"""``run`` and ``page`` of both programs: poses of a source, and a look at a service that runs."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.camera import camera_file_option, camera_of
from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    free_file,
    port_option,
    record_option,
    replaces,
    root_option,
    socket_option,
    spec_option,
    threads_option,
)
from edgepose.cli.output import progress_bar, say, write_report


@click.command(
    name="run",
    epilog="Example: edgepose run squats.mp4 --model pose.tflite --output poses.jsonl --render out.mp4",
)
@click.argument("source", required=False)
@camera_file_option
@click.option("--model", type=PATH, metavar="MODEL", help="Model file; else what is installed runs.")
@spec_option
@click.option("--bundle", type=PATH, metavar="FILE", help="Bundle, verified before it runs.")
@root_option
@detector_option
@detector_spec_option
@replaces(
    click.option(
        "--output",
        type=PATH,
        metavar="POSES.jsonl",
        callback=free_file,
        help="One JSON line a frame; - is standard output.",
    )
)
@replaces(
    click.option(
        "--render", type=PATH, metavar="OUT.mp4", callback=free_file, help="Video with the poses drawn."
    )
)
@click.option("--max-frames", type=click.IntRange(min=1), metavar="N", help="End after N frames.")
@click.option(
    "--detect-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask the detector at every Nth frame, follow persons between. [10; 1 for folders]",
)
@click.option("--smoothing/--no-smoothing", default=None, help="Steady the keypoints. [on; off for folders]")
@socket_option
@click.option(
    "--live-page", is_flag=True, help="Show skeletons in a browser on this machine, never a picture."
)
@port_option
@click.option(
    "--telemetry/--no-telemetry",
    default=None,
    help="Count minutes in the device root. [on where an installed model runs]",
)
@click.option(
    "--drift",
    is_flag=True,
    help="Watch, as the service does, whether pictures change for the installed model.",
)
@click.option(
    "--allow-unlocked", "unlocked", is_flag=True, help="Run even where the kernel cannot lock frames in."
)
@threads_option
@record_option("edgepose.run/1")
def command(  # noqa: PLR0917 (one argument an option)
    source: str | None,
    camera_file: Path | None,
    model: Path | None,
    spec_file: Path | None,
    bundle: Path | None,
    root: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    output: Path | None,
    render: Path | None,
    max_frames: int | None,
    detect_every: int | None,
    smoothing: bool | None,
    socket_path: Path | None,
    live_page: bool,
    port: int,
    telemetry: bool | None,
    drift: bool,
    unlocked: bool,
    threads: int | None,
    json_target: str | None,
) -> None:
    """Estimate poses on SOURCE: a video file, a folder of images, a camera index, v4l2:///dev/video0,
    rtsp://..., csi://0 or picamera2://0. Files never drop a frame; live sources keep the newest.
    A camera's password belongs into --camera-file.
    """  # noqa: D205
    if json_target == "-" and output == Path("-"):
        raise click.UsageError("Only one of --json and --output can go to standard output.")
    address = camera_of(source, camera_file)
    # OpenCV and the runtime take longer to import than `--help` may.
    from edgepose.device.capture.supervised.supervisor import CaptureOptions
    from edgepose.device.events import EventBus
    from edgepose.device.install.layout import make_var
    from edgepose.device.run.estimator_choice import EstimatorChoice
    from edgepose.device.run.loop import RunRequest, live_lock, run
    from edgepose.device.run.observers import ObserverChoice, drift_choice, open_observers, telemetry_root
    from edgepose.device.sandbox.lock import folders_of_outputs
    from edgepose.device.stop_signal import stop_requests

    models = EstimatorChoice(model, spec_file, bundle, root, detector, detector_spec, threads)
    observers = ObserverChoice(
        telemetry_root(models, wanted=telemetry),
        socket_path,
        port if live_page else None,
        drift_choice(models) if drift else None,
    )
    roots = (observers.telemetry_root, observers.drift.root if observers.drift else None)
    writable = (
        *(make_var(root) for root in roots if root),
        *folders_of_outputs([output, render, json_target]),
    )
    events = EventBus()
    with (
        stop_requests() as stop,
        progress_bar("frames") as progress,
        open_observers(observers, say, events) as opened,
    ):
        request = RunRequest(
            address,
            models,
            output,
            render,
            max_frames,
            observers=opened,
            detect_every=detect_every,
            smoothing=smoothing,
            lock=live_lock(address, say, unlocked=unlocked, writable=writable),
            capture=CaptureOptions(lock=not unlocked, say=say),
            events=events,
        )
        summary = run(request, stop, progress)
    # With the poses on standard output, what is for people goes to the other channel.
    if output == Path("-"):
        say(summary.describe())
    write_report(summary, json_target, None if output == Path("-") else summary.describe())


@click.command(name="page", epilog="Example: edgepose-device page --socket /var/lib/edgepose/root/poses.sock")
@click.option(
    "--socket", "path", type=PATH, required=True, metavar="PATH", help="Of run or service --socket."
)
@click.option(
    "--root", type=PATH, metavar="DIR", help="Device root of the service: shows what it knows about drift."
)
@port_option
def page_command(path: Path, root: Path | None, port: int) -> None:
    """Show skeletons and figures of a running service in a browser on this machine, never a picture.

    The page is served on 127.0.0.1 alone; ssh -L carries it to another machine. Ends with Ctrl-C.
    """
    from edgepose.device.monitor.drift_page import show_page
    from edgepose.device.stop_signal import stop_requests

    with stop_requests() as stop:
        show_page(path, root, port, stop, say)
