"""``edgepose verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option


@click.command(name="verify", epilog="Example: edgepose verify pose.epb --root-key 1.root.json")
@click.argument("bundle", type=PATH, metavar="FILE.epb")
@click.option("--root-key", type=PATH, metavar="ROOT.json", help="Root that must have led to the signatures.")
@json_option
def command(bundle: Path, root_key: Path | None, json_target: str | None) -> None:
    """Check every byte of a bundle and show who signed what, made from what.

    With --root-key the bundle must be signed by these keys. Without, its signatures are compared with this
    user's keys; those of others must agree with themselves, which shows damage, not a forger.
    """
    from edgepose.cli.bundle_report import describe_bundle
    from edgepose.cli.output import write_report
    from edgepose.cli.verification import read_root_file, verified_by_home, verified_by_root
    from edgepose.host.keys.key_home import default_key_home, read_roots

    if root_key is not None:
        verified = verified_by_root(bundle, read_root_file(root_key))
    else:
        home = default_key_home()
        verified = verified_by_home(bundle, tuple(read_roots(home)) if home.has_keys() else ())
    report, text = describe_bundle(bundle, verified)
    write_report(report, json_target, text)
