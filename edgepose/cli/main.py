"""``edgepose``: the program on the developer's machine."""

from __future__ import annotations

import click

from edgepose import __version__
from edgepose.cli.entry import LazyGroup, run_program, take_passphrase

_COMMANDS = {
    "deploy": ("edgepose.cli.deploy", "Convert, quantize, judge, bundle and install a model."),
    "install": ("edgepose.cli.install", "Install a bundle that was built before, on a device or here."),
    "phone": (
        "edgepose.cli.install:phone_command",
        "Write a bundle as a folder for an app, and push it to a phone.",
    ),
    "run": ("edgepose.cli.run", "Estimate poses on a video, a folder of images or a camera."),
    "evaluate": ("edgepose.cli.evaluate", "Measure accuracy on labelled images."),
    "benchmark": ("edgepose.cli.benchmark", "Measure latency, memory, heat and energy, here or on a device."),
    "convert": ("edgepose.cli.models:convert_command", "Convert a model and prove that it stayed the same."),
    "distill": ("edgepose.cli.distill", "Train a small student on a teacher's answers."),
    "quantize": ("edgepose.cli.quantize", "Quantize a model for a device profile."),
    "bundle": ("edgepose.cli.bundle", "Pack a model for a device profile into one file."),
    "verify": ("edgepose.cli.bundle:verify_command", "Check a bundle and show what it was made from."),
    "status": ("edgepose.cli.status", "Show what is installed in a device root."),
    "rollback": ("edgepose.cli.status:rollback_command", "Return to the model installed before."),
    "logs": ("edgepose.cli.status:logs_command", "Show what happened on a device."),
    "telemetry": ("edgepose.cli.telemetry", "Show, export or delete what a device counted about itself."),
    "drift": ("edgepose.cli.telemetry:drift_command", "Show what drifted on a device and what it asks for."),
    "page": (
        "edgepose.cli.run:page_command",
        "Show a running service in a browser: skeletons, never a picture.",
    ),
    "keys": ("edgepose.cli.keys", "Make, show and rotate the keys that sign bundles."),
    "models": ("edgepose.cli.models", "List ready specs; inspect a model file."),
    "report": ("edgepose.cli.report", "Write one HTML page from records and pictures."),
    "profiles": ("edgepose.cli.environment", "List device profiles; show one."),
    "data": ("edgepose.cli.data", "Audit a folder of images; draw one of nobody."),
    "tools": ("edgepose.cli.environment:tools_command", "Prepare side environments such as onnx2tf."),
    "doctor": ("edgepose.cli.environment:doctor_command", "Show what works here and what is missing."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: edgepose deploy --profile raspberrypi --model pose.onnx --spec pose.toml "
    "--calibration images/",
)
@click.version_option(__version__, prog_name="edgepose")
@click.pass_context
def command(context: click.Context) -> None:
    """Deploy human pose models to edge devices: quantized, proven, and installed so that they cannot
    break the device. Frames never leave it.
    """  # noqa: D205
    take_passphrase(context)


def main() -> None:
    """Entry point of ``edgepose``."""
    run_program(command, "edgepose")


if __name__ == "__main__":
    main()
