"""``edgepose status`` and ``edgepose-device status``.

``edgepose rollback`` and ``edgepose-device rollback``.

``edgepose logs`` and ``edgepose-device logs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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


@click.command(name="rollback", epilog="Example: edgepose rollback --root /srv/edgepose")
@root_option
@host_options
@json_option
def rollback_command(
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Return to the version installed before; it needs no download and passes its health check first."""
    require_one_place(host, root)
    from edgepose.cli.install_report import describe_install
    from edgepose.cli.output import say, write_report
    from edgepose.device.install.installer import rollback
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import become_owner

    if host is not None:
        from edgepose.cli.remote import remote_rollback

        report, text = remote_rollback(host, host_fingerprint, ssh_config)
        write_report(report, json_target, text)
        return
    place = root or default_preview_root()
    become_owner(place)
    installed, text = describe_install(rollback(place, say))
    write_report(installed, json_target, text)


if TYPE_CHECKING:
    from edgepose.records.device_status import DeviceLogs


@click.command(name="logs", epilog="Example: edgepose logs --host pi@camera-3 --lines 200")
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=50, show_default=True, help="Of the service's journal."
)
@root_option
@host_options
@json_option
def logs_command(
    *,
    lines: int,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Show what happened to a device root, and what its service wrote; no pose and no picture is in there."""
    from edgepose.cli.output import write_report

    require_one_place(host, root)
    if host is not None:
        from edgepose.cli.remote import remote_logs

        logs = remote_logs(host, host_fingerprint, ssh_config, lines)
    else:
        from edgepose.device.install.installed import read_status, service_lines
        from edgepose.device.install.layout import default_preview_root
        from edgepose.records.device_status import DeviceLogs

        place = root or default_preview_root()
        logs = DeviceLogs(
            schema="edgepose.logs/1",
            root=str(place),
            history=read_status(place).history,
            service=service_lines(lines),
        )
    write_report(logs, json_target, _describe(logs))


def _describe(logs: DeviceLogs) -> str:
    from edgepose.cli.output import table

    events = [
        (event.at, event.event, event.bundle_version, event.active_version or "-", event.detail)
        for event in logs.history
    ]
    text = table(("when", "event", "version", "active", "detail"), events)
    if logs.service is None:
        return f"{text}\n\nService: no journal that this user may read."
    return f"{text}\n\nService:\n" + ("\n".join(logs.service) or "nothing")
