"""``edgepose telemetry`` and ``edgepose-device telemetry``: what a device counted about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import (
    PATH,
    free_file,
    host_options,
    json_option,
    replaces,
    require_one_place,
    root_option,
)

if TYPE_CHECKING:
    from edgepose.spec.telemetry_record import TelemetryReport

_minutes_option = click.option(
    "--minutes",
    type=click.IntRange(min=1),
    metavar="N",
    help="The newest N minutes of running; all by default.",
)


@click.group(name="telemetry", epilog="Example: edgepose telemetry show --minutes 60")
def command() -> None:
    """Show, export or delete telemetry: counts, times, temperatures and events; no pose, no picture.

    It is written by the service and by runs of an installed model, stays on the device, and is sent nowhere.
    """


@command.command(name="show", epilog="Example: edgepose telemetry show --minutes 60 --json -")
@_minutes_option
@root_option
@host_options
@json_option
def show(
    *,
    minutes: int | None,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Show telemetry as charts in the terminal."""
    from edgepose.cli.output import write_report
    from edgepose.cli.telemetry_charts import describe_telemetry

    report = _read(minutes, root, host, host_fingerprint, ssh_config)
    # In a file or a pipe click leaves the colours out.
    write_report(report, json_target, describe_telemetry(report))


@command.command(name="export", epilog="Example: edgepose telemetry export may.csv --format csv")
@replaces(click.argument("file", type=PATH, callback=free_file))
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@_minutes_option
@root_option
@host_options
def export(
    *,
    file: Path,
    kind: str,
    minutes: int | None,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
) -> None:
    """Write telemetry to FILE: everything as JSON, or a row a minute as CSV."""
    from edgepose.cli.output import say
    from edgepose.device.telemetry.export import export_telemetry

    report = _read(minutes, root, host, host_fingerprint, ssh_config)
    export_telemetry(report, file, kind)
    say(f"{file}: {len(report.windows)} minutes, {len(report.events)} events.")


@command.command(name="purge", epilog="Example: edgepose telemetry purge --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
@host_options
@json_option
def purge(
    *,
    yes: bool,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Delete all telemetry: rows, the bytes they left behind, the log and the Prometheus file."""
    from edgepose.cli.output import write_report
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import as_service
    from edgepose.device.telemetry.reading import purge_telemetry
    from edgepose.spec.visible_text import visible

    require_one_place(host, root)
    place = root or default_preview_root()
    if not yes:
        click.confirm(visible(f"Delete all telemetry of {host or place}?"), abort=True, err=True)
    if host is not None:
        from edgepose.cli.remote import remote_purge

        freed = remote_purge((host, host_fingerprint, ssh_config))
    else:
        with as_service(place):
            freed = purge_telemetry(place)
    record = {"schema": "edgepose.telemetry_purge/1", "root": str(place), "freed_bytes": freed}
    write_report(record, json_target, f"Deleted; {freed} bytes are free again.")


def _read(
    minutes: int | None, root: Path | None, host: str | None, fingerprint: str | None, ssh_config: Path | None
) -> TelemetryReport:
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import as_service
    from edgepose.device.telemetry.reading import read_telemetry

    require_one_place(host, root)
    if host is None:
        place = root or default_preview_root()
        with as_service(place):
            return read_telemetry(place, minutes)
    from edgepose.cli.remote import remote_telemetry

    return remote_telemetry((host, fingerprint, ssh_config), minutes)
