"""``edgepose-device health``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import json_option, root_option


@click.command(name="health", epilog="Example: edgepose-device health --json -")
@root_option
@json_option
def health_command(root: Path | None, json_target: str | None) -> None:
    """Replay the golden frames through the installed model; an unhealthy one ends with exit code 9."""
    from edgepose.cli.device_report import describe_health
    from edgepose.cli.output import write_report
    from edgepose.device.installed_health import check_installed, require_healthy

    health = check_installed(root)
    report, text = describe_health(health)
    write_report(report, json_target, text)
    require_healthy(health)
