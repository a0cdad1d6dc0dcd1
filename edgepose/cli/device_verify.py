"""``edgepose-device verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, root_option


@click.command(name="verify", epilog="Example: edgepose-device verify")
@click.argument("bundle", type=PATH, metavar="[FILE.epb]", required=False)
@root_option
@json_option
def command(bundle: Path | None, root: Path | None, json_target: str | None) -> None:
    """Check every file of the installed model, or of a bundle, against its manifest."""
    if bundle is not None and root is not None:
        raise click.UsageError("Give FILE.epb or --root, not both.")
    from edgepose.cli.bundle_report import describe_bundle
    from edgepose.cli.output import write_report

    if bundle is not None:
        from edgepose.trust.bundle_reader import read_bundle

        report, text = describe_bundle(bundle, read_bundle(bundle))
    else:
        from edgepose.cli.device_report import describe_installed
        from edgepose.device.install.installed import installed_model

        report, text = describe_installed(installed_model(root))
    write_report(report, json_target, text)
