"""``edgepose-device drift``: what is known about drift, and beginning anew."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import json_option, root_option


@click.group(name="drift", epilog="Example: edgepose-device drift show")
def command() -> None:
    """Whether what the camera shows still is what the model was judged on."""


@command.command(name="show", epilog="Example: edgepose-device drift show --json -")
@root_option
@json_option
def show(root: Path | None, json_target: str | None) -> None:
    """Show what drifts, by how much and since when."""
    from edgepose.cli.output import write_report
    from edgepose.device.drift.drift_files import DriftFiles
    from edgepose.device.drift.retraining import describe_event
    from edgepose.device.install.layout import default_preview_root
    from edgepose.errors import ConfigError

    files = DriftFiles(root or default_preview_root())
    status = files.status()
    if status is None:
        raise ConfigError(
            f"Nothing is known about drift in {files.root}.", "It is looked for by the service."
        )
    lines = [describe_event(event) for event in status.events]
    lines.append(f"{status.windows} windows seen" + (", still learning" if status.learning else ""))
    if status.retrain:
        lines.append(f"Retrain: edgepose distill --request {files.request}")
    write_report(status, json_target, "\n".join(lines))


@command.command(name="reset", epilog="Example: edgepose-device drift reset")
@root_option
def reset(root: Path | None) -> None:
    """Learn anew what is usual here: after the camera was moved, or once drift was answered.

    A running service goes on with what it knows; restart it.
    """
    from edgepose.cli.output import say
    from edgepose.device.drift.drift_files import DriftFiles
    from edgepose.device.install.layout import default_preview_root

    files = DriftFiles(root or default_preview_root())
    say("Forgotten; restart the service." if files.forget() else "There was nothing to forget.")
