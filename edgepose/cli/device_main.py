"""``edgepose-device``: the program on the device; it works with the base install and knows no host code."""

from __future__ import annotations

import click

from edgepose import __version__
from edgepose.cli.entry import LazyGroup, run_program, take_passphrase

_COMMANDS = {
    "run": ("edgepose.cli.run", "Estimate poses on a video, a folder of images or a camera."),
    "service": ("edgepose.cli.device_service", "Run the installed model for good, as a service."),
    "service-begin": (
        "edgepose.cli.device_service:service_begin_command",
        "Decide which version the service will run; the unit's own step.",
    ),
    "units": ("edgepose.cli.device_service:units_command", "Install, show or remove the systemd service."),
    "install": ("edgepose.cli.device_install", "Install a bundle that lies here, and check its health."),
    "camera": (
        "edgepose.cli.device_service:camera_command",
        "Read a network camera for a service that has no network.",
    ),
    "readiness": (
        "edgepose.cli.device_install:readiness_command",
        "Say whether this root can take a bundle.",
    ),
    "status": ("edgepose.cli.status", "Show what is installed in this device root."),
    "logs": ("edgepose.cli.status:logs_command", "Show what happened here."),
    "drift": (
        "edgepose.cli.telemetry:drift_command",
        "Show what drifted and what is asked for, or begin to learn anew.",
    ),
    "telemetry": ("edgepose.cli.telemetry", "Show, export or delete what this device counted about itself."),
    "page": (
        "edgepose.cli.run:page_command",
        "Show a running service in a browser: skeletons, never a picture.",
    ),
    "verify": (
        "edgepose.cli.device_install:verify_command",
        "Check the installed files, or a bundle, against the manifest.",
    ),
    "enroll": (
        "edgepose.cli.device_install:enroll_command",
        "Pin the keys whose bundles this device takes, once.",
    ),
    "rollback": ("edgepose.cli.status:rollback_command", "Return to the model installed before."),
    "privacy-check": (
        "edgepose.cli.device_install:privacy_check_command",
        "Prove that frames cannot leave: try every way.",
    ),
    "calibrate": ("edgepose.cli.device_calibrate", "Set a float model's ranges here; export no picture."),
    "benchmark": (
        "edgepose.cli.benchmark:device_benchmark_command",
        "Measure speed, heat and energy of the installed model.",
    ),
    "health": (
        "edgepose.cli.device_install:health_command",
        "Replay the golden frames through the installed model.",
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: edgepose-device run v4l2:///dev/video0 --output poses.jsonl",
)
@click.version_option(__version__, prog_name="edgepose-device")
@click.pass_context
def command(context: click.Context) -> None:
    """Run and look after the installed pose model. Frames never leave this device."""
    take_passphrase(context)


def main() -> None:
    """Entry point of ``edgepose-device``."""
    run_program(command, "edgepose-device")


if __name__ == "__main__":
    main()
