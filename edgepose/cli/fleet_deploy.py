"""A deployment to the devices of an inventory, with a table at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.cli.output import say, table, write_report
from edgepose.host.deploy.deployment import deploy, plan_deployment
from edgepose.host.deploy.fleet.fleet_target import FleetTarget
from edgepose.host.deploy.fleet.inventory import read_inventory
from edgepose.host.deploy.fleet.rollout import RolloutPlan, require_complete, roll_out
from edgepose.host.deploy.plan import DeployRequest
from edgepose.spec.rollout_report import RolloutReport


@dataclass(frozen=True)
class FleetCall:
    """The options of ``deploy`` that are about fleets, by their names."""

    inventory: Path
    rollout: Path | None
    stages: tuple[str, ...]
    failure_limit: int
    keys: Path | None


def deploy_to_fleet(
    request: DeployRequest,
    call: FleetCall,
    roots: tuple[bytes, ...],
    json_target: str | None,
    *,
    dry_run: bool,
) -> None:
    """Prepares and judges once, then rolls out; an unfinished rollout goes on with its own bundle.

    Raises:
        EdgeposeError: As ``deploy`` and ``roll_out`` raise; DeployError where devices are left.
    """
    folder = call.rollout or Path(f"rollout-{request.profile.id}")
    plan = RolloutPlan(
        call.inventory, folder, call.stages, call.failure_limit, request.allow_downgrade, call.keys
    )
    hosts = read_inventory(call.inventory)
    if dry_run:
        steps = plan_deployment(request).plan
        lines = [f"  {number}. {step}" for number, step in enumerate(steps[:-1], 1)]
        say("\n".join([f"Plan for {len(hosts)} devices of {call.inventory}:", *lines]))
        say(f"  {len(steps)}. roll out in stages of {', '.join(call.stages)}\nNothing was changed.")
        return
    if plan.bundle.is_file():
        say(f"{folder} holds an unfinished rollout; it goes on with its bundle. Remove it to begin anew.")
        report = roll_out(plan, hosts, say)
    else:
        target = FleetTarget(plan, hosts, roots, say)
        deploy(request, target)
        report = _done(target)
    write_report(report, json_target, describe_rollout(report))
    if report.complete:
        plan.bundle.unlink()
    require_complete(report)


def describe_rollout(report: RolloutReport) -> str:
    """One row a device."""
    rows = [
        (
            one.host,
            one.outcome.replace("_", " "),
            one.bundle_version or "-",
            "-" if one.seconds is None else f"{one.seconds:.1f}",
            "-" if one.bytes_sent is None else f"{one.bytes_sent / 2**20:.2f}",
            one.message or "-",
        )
        for one in report.hosts
    ]
    return table(("device", "outcome", "version", "seconds", "MiB sent", "why"), rows)


def _done(target: FleetTarget) -> RolloutReport:
    if target.report is None:
        raise ValueError("the rollout did not run")
    return target.report
