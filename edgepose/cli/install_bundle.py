"""A ready bundle onto a device or into a root on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def install_where_asked(call: InstallCall, say: Callable[[str], None]) -> dict[str, Any]:
    """Installs the bundle; returns the record of the installation.

    Raises:
        EdgeposeError: As the targets raise.
    """
    from edgepose.cli.local_target import LocalTarget
    from edgepose.cli.signing import key_home
    from edgepose.device.install.layout import default_preview_root
    from edgepose.host.deploy.ssh.address import SshAddress
    from edgepose.host.deploy.ssh.connection import connect
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
