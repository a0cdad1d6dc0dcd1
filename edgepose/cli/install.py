"""``edgepose install``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgepose.cli.options import PATH, host_options, json_option, require_one_place, root_option
from edgepose.errors import EdgeposeError


@click.command(name="install", epilog="Example: edgepose install pose.epb --host pi@camera-3")
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@click.option("--allow-downgrade", is_flag=True, help="Let an older bundle replace a newer one.")
@click.option("--keys", type=PATH, metavar="DIR", help="Key home whose root a device without any pins.")
@root_option
@host_options
@json_option
def command(
    *,
    bundle: Path,
    allow_downgrade: bool,
    keys: Path | None,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
    json_target: str | None,
) -> None:
    """Install a BUNDLE that was built and judged before, on a device or into a preview root.

    The device verifies it, replays its golden frames, and keeps the version before where they fail.
    """
    from edgepose.cli.install_bundle import InstallCall, install_where_asked
    from edgepose.cli.output import say, write_report
    from edgepose.trust.digests import sha256_of_path

    require_one_place(host, root)
    call = InstallCall(bundle, allow_downgrade, keys, root, host, host_fingerprint, ssh_config)
    begun_ns = time.monotonic_ns()
    try:
        record = install_where_asked(call, say)
    except EdgeposeError as problem:
        _note_failure(problem, json_target)
        raise
    record["bundle_sha256"] = sha256_of_path(bundle)
    record["seconds"] = round((time.monotonic_ns() - begun_ns) / 1e9, 3)
    where = host or record["root"]
    write_report(record, json_target, f"{where}: version {record['bundle_version']} is active")


def _note_failure(problem: EdgeposeError, json_target: str | None) -> None:
    """A rollout reads why, and whether the device answered at all."""
    if json_target is None or json_target == "-":
        return
    from edgepose.cli.output import write_report

    record = {
        "schema": "edgepose.installation_failure/1",
        "error": problem.message,
        "exit_code": problem.exit_code,
        "unreachable": "cannot be reached" in problem.message,
    }
    write_report(record, json_target)
