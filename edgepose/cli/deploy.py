"""``edgepose deploy``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    fleet_options,
    host_options,
    profile_option,
    record_option,
    require_one_place,
    root_option,
    spec_option,
)
from edgepose.cli.output import say, write_report
from edgepose.cli.signing import open_signing, signing_options

if TYPE_CHECKING:
    from edgepose.spec.deployment_report import DeploymentReport
    from edgepose.spec.device_profile import Precision


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
@click.option("--allow-downgrade", is_flag=True, help="Let an older bundle replace a newer one.")
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
    allow_downgrade: bool,
    keys: Path | None,
    unsigned: bool,
    root: Path | None,
    host: str | None,
    host_fingerprint: str | None,
    ssh_config: Path | None,
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
    from edgepose.cli.local_target import LocalTarget
    from edgepose.device.install.layout import default_preview_root
    from edgepose.host.deploy.builtin import with_builtin_models
    from edgepose.host.deploy.deployment import deploy, plan_deployment
    from edgepose.host.deploy.plan import DeployRequest
    from edgepose.host.quantize.recipe_choice import find_recipe
    from edgepose.spec.device_profile import find_profile
    from edgepose.trust.builtin_models import find_builtin_models

    if (annotations is None) != (images is None):
        raise click.UsageError("--annotations and --images belong together.")
    require_one_place(host, root, inventory)
    if host is None and root is None and inventory is None:
        host, root, inventory = _place_of_project()
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
        allow_downgrade=allow_downgrade,
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
        from edgepose.cli.fleet_deploy import FleetCall, deploy_to_fleet

        fleet = FleetCall(inventory, rollout, tuple(stages.split(",")), failure_limit, keys)
        deploy_to_fleet(request, fleet, roots, json_target, dry_run=dry_run)
        return
    if host is not None:
        from edgepose.cli.remote_deploy import deploy_to_host
        from edgepose.host.deploy.ssh.address import SshAddress

        report = deploy_to_host(
            request, SshAddress(host, host_fingerprint, ssh_config), roots, dry_run=dry_run
        )
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
    health = report.installation["health"]
    lines = [f"Installed version {report.installation['bundle_version']} in {report.root}."]
    if health["verified_on"] == "host":
        lines += [
            f"This is a preview on this machine, not a {report.profile}: golden frames were replayed on this",
            "CPU, the accelerator and the budgets of latency and memory are not verified.",
        ]
    signed_by = report.installation.get("signed_by")
    lines.append(f"Signed by {signed_by}." if signed_by else "Not signed: edgepose keys init makes keys.")
    edgetpu = (report.bundle or {}).get("edgetpu")
    if edgetpu is not None:
        lines.append(f"Edge TPU: {edgetpu['status']}.")
    lines += [
        *_next_steps(report),
    ]
    return "\n".join(lines)


def _place_of_project() -> tuple[str | None, Path | None, Path | None]:
    from edgepose.spec.project_file import PROJECT_FILE, project_target

    target = project_target()
    if target is None:
        return None, None, None
    say(f"The target is that of {PROJECT_FILE}: {target.host or target.root or target.inventory}")
    folder = PROJECT_FILE.parent
    return (
        target.host,
        None if target.root is None else folder / target.root,
        None if target.inventory is None else folder / target.inventory,
    )


def _next_steps(report: DeploymentReport) -> list[str]:
    host = (report.installation or {}).get("host")
    if host is not None:
        return [f"Look: edgepose status --host {host}", f"Back: edgepose rollback --host {host}"]
    return [
        f"Look: edgepose status --root {report.root}",
        f"Run:  edgepose run SOURCE --root {report.root}",
    ]
