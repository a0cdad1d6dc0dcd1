"""``edgepose rollback`` and ``edgepose-device rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import host_options, json_option, require_one_place, root_option


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
    report, text = describe_install(rollback(place, say))
    write_report(report, json_target, text)
