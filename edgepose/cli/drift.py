"""``edgepose drift`` and ``edgepose-device drift``: what is known about drift, and beginning anew."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import host_options, json_option, require_one_place, root_option


@click.group(name="drift", epilog="Example: edgepose drift show --host pi@camera-3")
def command() -> None:
    """Whether what the camera shows still is what the model was judged on."""


@command.command(name="show", epilog="Example: edgepose-device drift show --json -")
@root_option
@host_options
@json_option
def show(
    *,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Show what drifts, by how much and since when."""
    from edgepose.cli.output import write_report
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.monitor.drift_files import describe_drift, known_drift

    require_one_place(host, root)
    if host is not None:
        from edgepose.cli.remote import remote_drift

        status = remote_drift((host, host_fingerprint, ssh_config))
    else:
        status = known_drift(root or default_preview_root())
    write_report(status, json_target, describe_drift(status))


@command.command(
    name="request", epilog="Example: edgepose drift request --host pi@camera-3 --json request.json"
)
@root_option
@host_options
@json_option
def request(
    *,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Show what a device asks for; its JSON is what edgepose distill --request takes."""
    from edgepose.cli.output import write_report
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.monitor.drift_files import asked_for, describe_request

    require_one_place(host, root)
    if host is not None:
        from edgepose.cli.remote import remote_request

        found = remote_request((host, host_fingerprint, ssh_config))
    else:
        found = asked_for(root or default_preview_root())
    write_report(found, json_target, describe_request(found))


@command.command(name="reset", epilog="Example: edgepose-device drift reset")
@root_option
def reset(root: Path | None) -> None:
    """Learn anew what is usual here: after the camera was moved, or once drift was answered.

    A running service goes on with what it knows; restart it.
    """
    from edgepose.cli.output import say
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import as_service
    from edgepose.device.monitor.drift_files import DriftFiles

    place = root or default_preview_root()
    with as_service(place):
        forgotten = DriftFiles(place).forget()
    say("Forgotten; restart the service." if forgotten else "There was nothing to forget.")
