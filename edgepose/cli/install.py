"""``edgepose install``.

A ready bundle onto a device or into a root on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from edgepose.cli.options import PATH, host_options, json_option, require_one_place, root_option
from edgepose.errors import EdgeposeError

if TYPE_CHECKING:
    from edgepose.records.deployment_report import InstallationReport


@dataclass(frozen=True)
class InstallCall:
    """What ``edgepose install`` was asked for; the options by their names."""

    bundle: Path
    allow_downgrade: bool
    keys: Path | None
    root: Path | None
    host: str | None
    host_fingerprint: str | None
    ssh_config: Path | None


def install_where_asked(call: InstallCall, say: Callable[[str], None]) -> InstallationReport:
    """Installs the bundle; returns the record of the installation.

    Raises:
        EdgeposeError: As the targets raise.
    """
    from edgepose.cli.local_target import LocalTarget
    from edgepose.cli.signing import key_home
    from edgepose.device.install.layout import default_preview_root
    from edgepose.host.deploy.ssh.connection import connect
    from edgepose.host.deploy.ssh.remote_host import SshAddress
    from edgepose.host.deploy.ssh.remote_target import RemoteTarget
    from edgepose.host.keys.key_home import read_roots
    from edgepose.trust.bundle_reader import verify_bundle

    profile = verify_bundle(call.bundle).profile
    home = key_home(call.keys)
    roots = tuple(read_roots(home)) if home.has_keys() else ()
    if call.host is None:
        local = LocalTarget(call.root or default_preview_root(), roots)
        local.check(profile)
        return local.install(call.bundle, allow_downgrade=call.allow_downgrade, say=say)
    with connect(SshAddress(call.host, call.host_fingerprint, call.ssh_config)) as connection:
        remote = RemoteTarget(connection, roots, say=say)
        remote.check(profile)
        return remote.install(call.bundle, allow_downgrade=call.allow_downgrade, say=say)


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
    seconds = round((time.monotonic_ns() - begun_ns) / 1e9, 3)
    record = replace(record, bundle_sha256=sha256_of_path(bundle), seconds=seconds)
    write_report(record, json_target, f"{host or record.root}: version {record.bundle_version} is active")


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
