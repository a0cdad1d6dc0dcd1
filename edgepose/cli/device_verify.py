"""``edgepose-device verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, root_option


@click.command(name="verify", epilog="Example: edgepose-device verify")
@click.argument("bundle", type=PATH, metavar="[FILE.epb]", required=False)
@root_option
@click.option(
    "--root-key", type=PATH, metavar="ROOT.json", help="Root that must have led to the bundle's signatures."
)
@json_option
def verify_command(
    bundle: Path | None, root: Path | None, root_key: Path | None, json_target: str | None
) -> None:
    """Check every file of the installed model against its manifest, or a bundle by the keys that this device
    has pinned.
    """  # noqa: D205
    if bundle is not None and root is not None:
        raise click.UsageError("Give FILE.epb or --root, not both.")
    if bundle is None and root_key is not None:
        raise click.UsageError("--root-key goes with FILE.epb.")
    from edgepose.cli.bundle_report import describe_bundle
    from edgepose.cli.output import write_report

    if bundle is not None:
        from edgepose.cli.verification import read_root_file, verified_by_anchor, verified_by_root
        from edgepose.device.install.installed import pinned_keys

        if root_key is not None:
            verified = verified_by_root(bundle, read_root_file(root_key))
        else:
            verified = verified_by_anchor(bundle, pinned_keys())
        report, text = describe_bundle(bundle, verified)
    else:
        from edgepose.cli.device_report import describe_installed
        from edgepose.device.install.installed import installed_model

        report, text = describe_installed(installed_model(root))
    write_report(report, json_target, text)
