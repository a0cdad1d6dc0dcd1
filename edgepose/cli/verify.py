"""``edgepose verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option


@click.command(name="verify", epilog="Example: edgepose verify pose.epb")
@click.argument("bundle", type=PATH, metavar="FILE.epb")
@json_option
def command(bundle: Path, json_target: str | None) -> None:
    """Check every byte of a bundle against its manifest and show what it was made from.

    Bundles are not signed yet: this finds damage, not a forger.
    """
    from edgepose.cli.bundle_report import describe_bundle
    from edgepose.cli.output import write_report
    from edgepose.trust.bundle_reader import read_bundle

    report, text = describe_bundle(bundle, read_bundle(bundle))
    write_report(report, json_target, text)
