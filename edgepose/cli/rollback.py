"""``edgepose rollback`` and ``edgepose-device rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import json_option, root_option


@click.command(name="rollback", epilog="Example: edgepose rollback --root /srv/edgepose")
@root_option
@json_option
def command(root: Path | None, json_target: str | None) -> None:
    """Return to the version installed before; it needs no download and passes its health check first."""
    from edgepose.cli.install_report import describe_install
    from edgepose.cli.output import say, write_report
    from edgepose.device.install.installer import rollback
    from edgepose.device.install.layout import default_preview_root

    report, text = describe_install(rollback(root or default_preview_root(), say))
    write_report(report, json_target, text)
