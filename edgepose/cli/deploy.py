"""``edgepose deploy``: to a root here, a device behind ssh, or the devices of an inventory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgepose.cli.keys import open_signing, signing_options
from edgepose.cli.options import (
    PATH,
    Device,
    detector_option,
    detector_spec_option,
    fleet_options,
    host_options,
    install_options,
    profile_option,
    record_option,
    root_option,
    spec_option,
)
from edgepose.cli.output import progress_bar, say, table, write_report

if TYPE_CHECKING:
    from edgepose.host.deploy.fleet.rollout import FleetTarget, RolloutPlan
    from edgepose.host.deploy.plan import DeployRequest
    from edgepose.host.deploy.ssh.remote_host import SshAddress
    from edgepose.records.deployment_report import DeploymentReport, InstallOptions, RolloutReport
    from edgepose.records.device_profile import Precision
    from edgepose.records.device_status import DeviceProbe


def deploy_to_fleet(
    request: DeployRequest,
    plan: RolloutPlan,
    roots: tuple[bytes, ...],
    json_target: str | None,
    *,
    dry_run: bool,
) -> None:
    """Prepares and judges once, then rolls out; an unfinished rollout goes on with its own bundle."""
    from edgepose.host.deploy.deployment import deploy, plan_deployment
    from edgepose.host.deploy.fleet.inventory import read_inventory
    from edgepose.host.deploy.fleet.rollout import FleetTarget, require_complete, roll_out

    hosts = read_inventory(plan.inventory)
    if dry_run:
        steps = plan_deployment(request).plan
        lines = [f"  {number}. {step}" for number, step in enumerate(steps[:-1], 1)]
        say("\n".join([f"Plan for {len(hosts)} devices of {plan.inventory}:", *lines]))
        say(f"  {len(steps)}. roll out in stages of {', '.join(plan.stages)}\nNothing was changed.")
        return
    if plan.bundle.is_file():
        say(
            f"{plan.folder} holds an unfinished rollout; it goes on with its bundle. Remove it to begin anew."
        )
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


def deploy_to_host(
    request: DeployRequest, address: SshAddress, roots: tuple[bytes, ...], *, dry_run: bool
) -> DeploymentReport:
    """Probes the device, refuses it or not, and deploys; a dry run only probes and plans."""
    from edgepose.host.deploy.deployment import deploy, plan_deployment
    from edgepose.host.deploy.ssh.connection import connect
    from edgepose.host.deploy.ssh.remote_target import RemoteTarget

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


@click.command(
    name="deploy",
    epilog="Example: edgepose deploy --profile raspberrypi; with a model of your own: edgepose deploy "
    "--profile raspberrypi --model pose.onnx --spec pose.toml --calibration pictures/ --root preview/",
)
@profile_option
@click.option(
    "--model", type=PATH, metavar="MODEL", help="The float pose model; the built-in one by default."
)
@spec_option
@click.option(
    "--float-parent", type=PATH, metavar="MODEL", help="What a MODEL that is int8 already is judged against."
)
@detector_option
@detector_spec_option
@click.option("--calibration", type=PATH, metavar="DIR", help="Pictures that set the ranges.")
@click.option("--annotations", type=PATH, metavar="COCO.json", help="Labels to judge accuracy on.")
@click.option("--images", type=PATH, metavar="DIR", help="The labelled pictures.")
@click.option(
    "--precision", type=click.Choice(["int8", "float16", "float32"]), help="The profile's first by default."
)
@click.option("--recipe", metavar="NAME|FILE", help="Quantization recipe; the profile's by default.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draw of the pictures.")
@click.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")
@install_options
@signing_options
@root_option
@host_options
@fleet_options
@record_option("edgepose.deployment/1", "edgepose.rollout/1")
def command(  # noqa: PLR0917 - one argument an option
    profile_name: str,
    model: Path | None,
    spec_file: Path | None,
    float_parent: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    calibration: Path | None,
    annotations: Path | None,
    images: Path | None,
    precision: Precision | None,
    recipe: str | None,
    seed: int,
    dry_run: bool,
    install: InstallOptions,
    keys: Path | None,
    unsigned: bool,
    root: Path | None,
    device: Device | None,
    inventory: Path | None,
    rollout: Path | None,
    stages: str,
    failure_limit: int,
    json_target: str | None,
) -> None:
    """Convert, quantize, judge, bundle and install a model in one go.

    The gate decides before the target is touched: with labels by the paired AP difference to the float
    model, without by OKS agreement on pictures that did not calibrate. With --host a device behind ssh is the
    target, with --inventory many; else the target of ./edgepose.toml, or a preview root on this machine.
    """
    from edgepose.cli.install import LocalTarget
    from edgepose.device.install.layout import default_preview_root
    from edgepose.host.deploy.deployment import deploy, plan_deployment
    from edgepose.host.deploy.plan import DeployRequest, with_builtin_models
    from edgepose.host.quantize.recipe_choice import find_recipe
    from edgepose.records.device_profile import find_profile
    from edgepose.trust.builtin_models import find_builtin_models

    if (annotations is None) != (images is None):
        raise click.UsageError("--annotations and --images belong together.")
    if (device, root, inventory) == (None,) * 3:
        device, root, inventory = _place_of_project()
    if recipe is not None and precision is not None:
        raise click.UsageError("--recipe and --precision exclude each other.")
    request = DeployRequest(
        profile=find_profile(profile_name),
        model=model or Path(),
        root=root or default_preview_root(),
        spec_file=spec_file,
        float_parent=float_parent,
        detector=detector,
        detector_spec=detector_spec,
        calibration=calibration,
        annotations=annotations,
        images=images,
        precision=precision,
        recipe=None if recipe is None else find_recipe(recipe),
        install=install,
        seed=seed,
        say=say,
    )
    signing = None if dry_run else open_signing(keys, unsigned=unsigned)
    if signing is not None:
        request = replace(request, sign=signing.sign)
    if model is None:
        request = with_builtin_models(request, find_builtin_models())
    roots = signing.roots if signing else ()
    if inventory is not None:
        from edgepose.host.deploy.fleet.rollout import RolloutPlan

        folder = rollout or Path(f"rollout-{request.profile.id}")
        fleet = RolloutPlan(inventory, folder, tuple(stages.split(",")), failure_limit, install, keys)
        deploy_to_fleet(request, fleet, roots, json_target, dry_run=dry_run)
        return
    if device is not None:
        report = deploy_to_host(request, device.address(), roots, dry_run=dry_run)
    elif dry_run:
        report = plan_deployment(request)
    else:
        report = deploy(request, LocalTarget(request.root, roots))
    write_report(report, json_target, _describe(report))


def _describe(report: DeploymentReport) -> str:
    if report.dry_run or report.installation is None:
        steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(report.plan, 1))
        head = f"Plan for {report.profile}, {report.precision}, recipe {report.recipe}:"
        return f"{head}\n{steps}\nNothing was changed."
    installed = report.installation
    lines = [f"Installed version {installed.bundle_version} in {report.root}."]
    if installed.health.verified_on == "host":
        lines += [
            f"This is a preview on this machine, not a {report.profile}: golden frames were replayed on this",
            "CPU, the accelerator and the budgets of latency and memory are not verified.",
        ]
    signed_by = installed.signed_by
    lines.append(f"Signed by {signed_by}." if signed_by else "Not signed: edgepose keys init makes keys.")
    if report.bundle is not None and report.bundle.accelerator:
        lines.append(f"{report.bundle.accelerator.title}: {report.bundle.accelerator.status}.")
    return "\n".join([*lines, *_next_steps(report)])


def _place_of_project() -> tuple[Device | None, Path | None, Path | None]:
    from edgepose.records.deployment_report import PROJECT_FILE, project_target

    target = project_target()
    if target is None:
        return None, None, None
    say(f"The target is that of {PROJECT_FILE}: {target.host or target.root or target.inventory}")
    folder = PROJECT_FILE.parent
    return (
        None if target.host is None else Device(target.host, None, None),
        None if target.root is None else folder / target.root,
        None if target.inventory is None else folder / target.inventory,
    )


def _next_steps(report: DeploymentReport) -> list[str]:
    if report.installation is not None and isinstance(host := report.installation.host, str):
        return [f"Look: edgepose status --host {host}", f"Back: edgepose rollback --host {host}"]
    return [f"Look: edgepose status --root {report.root}", f"Run:  edgepose run SOURCE --root {report.root}"]
