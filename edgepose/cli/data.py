"""``edgepose data``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, optional_profile_option, spec_option
from edgepose.cli.output import progress_bar, say, write_report


@click.group(name="data", epilog="Example: edgepose data audit images/ --against val/")
def command() -> None:
    """Audit a folder of images."""


def _json_file(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    if value is None or value.suffix == ".json":
        return value
    raise click.BadParameter(f"'{value}' must end in .json.")


def _png_file(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    if value is None or value.suffix == ".png":
        return value
    raise click.BadParameter(f"'{value}' must end in .png.")


@command.command(name="audit", epilog="Example: edgepose data audit calibration/ --against validation/")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--against", type=PATH, metavar="DIR", help="Folder that must not share pictures with DIR.")
@click.option("--model", type=PATH, metavar="MODEL", help="The model to calibrate: preprocessing, ranges.")
@spec_option
@click.option("--teacher", type=PATH, metavar="MODEL", help="Pose model to hold the labels against.")
@click.option("--teacher-spec", type=PATH, metavar="FILE.toml", help="Spec of a teacher that carries none.")
@optional_profile_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Split for the ranges.")
@click.option(
    "--manifest", type=PATH, metavar="FILE.json", callback=_json_file, help="Write digests and licences."
)
@click.option(
    "--render", type=PATH, metavar="FILE.png", callback=_png_file, help="Draw the most suspicious labels."
)
@json_option
def audit(  # noqa: PLR0917 - one argument an option
    folder: Path,
    against: Path | None,
    model: Path | None,
    spec_file: Path | None,
    teacher: Path | None,
    teacher_spec: Path | None,
    profile_name: str | None,
    seed: int,
    manifest: Path | None,
    render: Path | None,
    json_target: str | None,
) -> None:
    """Say whether DIR is fit to calibrate on, and what it lacks.

    Copies and near copies, pictures shared with another folder, light, blur, scale and poses, labels that
    look wrong, licences. With --model also preprocessing, stability of ranges, and poses where there are no
    labels. The report comes first; a folder that is not fit then ends with exit code 3.
    """
    from edgepose.cli.data_report import describe_audit
    from edgepose.host.data.audit.contact_sheet import write_contact_sheet
    from edgepose.host.data.audit.folder_audit import audit_folder, refuse_unfit_report
    from edgepose.host.data.audit.manifest import write_folder_manifest
    from edgepose.host.data.audit.request import AuditRequest, minimum_pictures

    with progress_bar("Audit") as progress:
        request = AuditRequest(
            folder=folder,
            against=against,
            minimum=minimum_pictures(profile_name),
            model=model,
            spec_file=spec_file,
            teacher=teacher,
            teacher_spec=teacher_spec,
            seed=seed,
            progress=progress,
        )
        report = audit_folder(request)
    write_report(report, json_target, describe_audit(report))
    if manifest is not None:
        write_folder_manifest(folder, manifest)
    if render is not None and not write_contact_sheet(report, folder, render):
        say(f"No label looks wrong, so {render} was not written.")
    refuse_unfit_report(report)
