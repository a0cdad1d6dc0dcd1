"""``edgepose status`` and ``edgepose-device status``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import host_options, json_option, require_one_place, root_option


@click.command(name="status", epilog="Example: edgepose status --json -")
@root_option
@host_options
@json_option
def command(
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Show what is installed in a device root, how it was verified, and what happened there."""
    require_one_place(host, root)
    from edgepose.cli.install_report import describe_status
    from edgepose.cli.output import write_report
    from edgepose.device.install.installed import read_status
    from edgepose.device.install.layout import default_preview_root

    if host is not None:
        from edgepose.cli.remote import remote_status

        report, text = remote_status(host, host_fingerprint, ssh_config)
        write_report(report, json_target, text)
        return
    place = root or default_preview_root()
    status = read_status(place)
    write_report(status, json_target, describe_status(place, status))
