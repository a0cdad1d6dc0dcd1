"""``edgepose data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgepose.cli.options import (
    PATH,
    free_file,
    json_option,
    optional_profile_option,
    record_option,
    replaces,
    size_callback,
    spec_option,
)
from edgepose.cli.output import progress_bar, say, write_report

if TYPE_CHECKING:
    from edgepose.spec.synthetic_clip import SynthesisReport


@click.group(name="data", epilog="Example: edgepose data audit images/ --against val/")
def command() -> None:
    """Audit a folder of images; draw one of persons who do not exist."""


def _json_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is None or value.suffix == ".json":
        return free_file(ctx, param, value)
    raise click.BadParameter(f"'{value}' must end in .json.")


def _png_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is None or value.suffix == ".png":
        return free_file(ctx, param, value)
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
@replaces(
    click.option(
        "--manifest", type=PATH, metavar="FILE.json", callback=_json_file, help="Write digests and licences."
    )
)
@replaces(
    click.option(
        "--render", type=PATH, metavar="FILE.png", callback=_png_file, help="Draw the most suspicious labels."
    )
)
@record_option("edgepose.data_audit/1")
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


def _persons(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[int, int]:
    fewest, _, most = value.partition("-")
    numbers = (fewest, most or fewest)
    if not all(number.isascii() and number.isdigit() for number in numbers) or int(numbers[0]) > int(
        numbers[1]
    ):
        raise click.BadParameter(f"'{value}' is neither a number of persons nor a range such as 1-4.")
    return int(numbers[0]), int(numbers[1])


@command.command(name="synth", epilog="Example: edgepose data synth -o drawn/ --count 64 --persons 1-3")
@click.option("-o", "--output", "folder", type=PATH, required=True, metavar="DIR", help="Folder to make.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Draw N pictures with COCO labels.")
@click.option("--video", "seconds", type=float, metavar="SECONDS", help="Film a clip with labels too.")
@click.option("--fps", type=float, default=15.0, show_default=True, help="Frames a second of the clip.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses everything.")
@click.option(
    "--persons",
    callback=_persons,
    default="1-2",
    show_default=True,
    metavar="A-B",
    help="Persons in a picture.",
)
@click.option("--size", "size_wh", callback=size_callback, metavar="WxH", help="320x240; a clip has 640x480.")
@click.option(
    "--style",
    type=click.Choice(["clear", "varied"]),
    help="varied: cut, hidden, dark, blurred, acrobatic, as pictures are by default; clear: none of it.",
)
@json_option
def synth(  # noqa: PLR0917 - one argument an option
    folder: Path,
    count: int | None,
    seconds: float | None,
    fps: float,
    seed: int,
    persons: tuple[int, int],
    size_wh: tuple[int, int] | None,
    style: Literal["clear", "varied"] | None,
    json_target: str | None,
) -> None:
    """Draw persons who do not exist, with exact labels.

    Articulated, dressed, lit figures in rooms and landscapes; COCO-17 keypoints, visibility and boxes are
    true by construction. The same seed gives the same bytes. In a clip two persons cross each other, and
    every person keeps one id; it has the larger number of --persons.
    """
    from edgepose.host.synthetic.clip import ClipRequest
    from edgepose.host.synthetic.picture_set import DEFAULT_SIZE_WH, PictureSetRequest
    from edgepose.host.synthetic.synthesis import synthesize

    with progress_bar("Draw") as progress:
        pictures = clip = None
        if count is not None:
            size = size_wh or DEFAULT_SIZE_WH
            pictures = PictureSetRequest(count, seed, size, persons, style or "varied", progress)
        if seconds is not None:
            size = size_wh or (640, 480)
            clip = ClipRequest(seconds, fps, seed, size, persons[1], style or "clear", progress)
        report = synthesize(folder, pictures, clip)
    write_report(report, json_target, _describe_synthesis(report))


def _describe_synthesis(report: SynthesisReport) -> str:
    lines = [f"{report.folder}: {report.pictures} pictures, {report.frames} frames, {report.seconds:.1f} s"]
    if report.pictures:
        lines.append(
            f"{report.persons} persons; keypoints: {report.keypoints_seen} seen, "
            f"{report.keypoints_hidden} hidden, {report.keypoints_outside} outside the picture"
        )
    return "\n".join([*lines, *(f"again: {words}" for words in report.commands)])
