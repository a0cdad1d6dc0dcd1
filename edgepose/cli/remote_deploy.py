"""A deployment to a device behind ssh, with a bar for what is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from edgepose.cli.output import progress_bar, say
from edgepose.host.deploy.deployment import deploy, plan_deployment
from edgepose.host.deploy.plan import DeployRequest
from edgepose.host.deploy.ssh.address import SshAddress
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.spec.deployment_report import DeploymentReport
from edgepose.spec.device_probe import DeviceProbe


def deploy_to_host(
    request: DeployRequest, address: SshAddress, roots: tuple[bytes, ...], *, dry_run: bool
) -> DeploymentReport:
    """Probes the device, refuses it or not, and deploys; a dry run only probes and plans.

    Raises:
        EdgeposeError: As ``connect``, ``RemoteTarget`` and ``deploy`` raise.
    """
    with connect(address) as connection, progress_bar("bytes sent") as progress:
        say(describe_probe(connection.host.name, connection.probe))
        target = RemoteTarget(connection, roots, say=say, sent=progress)
        there = replace(request, root=Path(connection.root))
        if not dry_run:
            return deploy(there, target)
        target.check(request.profile)
        plan = plan_deployment(there)
        steps = (*plan.plan[:-1], f"install on {connection.host.name}, version {target.next_version()}")
        return msgspec.structs.replace(plan, plan=steps)


def describe_probe(name: str, probe: DeviceProbe) -> str:
    """A device in one line."""
    pythons = ", ".join(python.version for python in probe.pythons) or "none"
    parts = [
        probe.board or probe.arch,
        f"{probe.cpu_cores} cores",
        f"{probe.memory_mib or '?'} MiB",
        f"Python {pythons}",
        f"{probe.disk_free_mib or '?'} MiB free",
        f"cameras: {', '.join(probe.cameras) or 'none'}",
    ]
    parts += [f"accelerators: {', '.join(probe.accelerators)}"] if probe.accelerators else []
    return f"{name}: {'; '.join(parts)}"
