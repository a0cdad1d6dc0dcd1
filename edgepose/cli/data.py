"""``edgepose data``: audit a folder of images; draw one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgepose.cli.options import (
    PATH,
    free_file_named,
    json_option,
    optional_profile_option,
    record_option,
    replaces,
    size_callback,
    spec_option,
)
from edgepose.cli.output import progress_bar, say, table, write_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgepose.records.data_audit import DataAuditReport
    from edgepose.records.synthetic_clip import SynthesisReport


_SHOWN_LABELS = 10


def describe_audit(report: DataAuditReport) -> str:
    """The report in a page."""
    parts = [
        "\n".join(_head(report)),
        table(("figure", "low", "5 %", "median", "95 %", "high"), _spreads(report)),
        table(("group", "bins", "known", "evenness"), list(_groups(report))),
        _labels(report),
        "\n".join(_model_lines(report)),
        "\n".join(_verdict(report)),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(report: DataAuditReport) -> Iterator[str]:
    counts = report.counts
    yield f"{report.folder}: {counts.images} usable pictures, digest {report.digest}"
    yield f"different          {report.distinct_pictures} (at least {report.minimum_pictures} needed)"
    yield f"unreadable         {counts.unreadable}{_listed(report.unreadable_files)}"
    yield f"other files        {counts.other_files}"
    yield f"exact copies       {counts.exact_duplicates}{_listed(_equations(report.duplicate_groups))}"
    for words, groups in (
        ("near copies        ", report.near_duplicate_groups),
        ("same scenes        ", report.same_scene_groups),
    ):
        yield f"{words}{len(groups)} groups{_listed(_equations(groups), most=3)}"
    yield f"show nothing       {len(report.pictures.flat_files)}{_listed(report.pictures.flat_files)}"
    if counts.has_labels:
        yield f"labels             {counts.labels_without_image} without picture"
        yield f"pictures           {counts.images_without_label} without label"
    else:
        yield "labels             none"
    yield f"persons            {report.persons.persons} (from {report.persons.poses_from})"
    yield "licences           " + ", ".join(f"{name}: {count}" for name, count in report.licences.items())
    if report.against is not None:
        names = tuple(f"{leak.file} = {leak.other} ({leak.kind})" for leak in report.leaks)
        yield f"shared with {report.against}: {len(names)}{_listed(names)}"


def _spreads(report: DataAuditReport) -> list[tuple[object, ...]]:
    pictures = report.pictures
    rows = [
        ("brightness (0 to 255)", pictures.brightness),
        ("contrast", pictures.contrast),
        (f"sharpness at {pictures.sharpness_side_px} px", pictures.sharpness),
        ("width_px", pictures.width_px),
        ("height_px", pictures.height_px),
    ]
    if report.persons.height_share is not None:
        rows.append(("person / picture height", report.persons.height_share))
    return [(name, s.low, s.p5, s.median, s.p95, s.high) for name, s in rows]


def _groups(report: DataAuditReport) -> Iterator[tuple[object, ...]]:
    for group in report.balance:
        bins = (s for s in report.slices if s.group == group.group)
        text = ", ".join(f"{s.name} {s.count}" for s in bins)
        yield group.group, text, f"{group.known} of {group.known + group.unknown}", group.entropy


def _labels(report: DataAuditReport) -> str:
    if not report.label_errors:
        return ""
    kinds = ", ".join(f"{kind} {count}" for kind, count in report.label_error_counts.items())
    rows = [
        (e.score, e.file, "-" if e.annotation_id is None else str(e.annotation_id), e.kind, e.reason)
        for e in report.label_errors[:_SHOWN_LABELS]
    ]
    shown = f"Labels to look at, surest first ({kinds}; all in the JSON):"
    return shown + "\n" + table(("score", "picture", "id", "kind", "why"), rows)


def _model_lines(report: DataAuditReport) -> Iterator[str]:
    if report.teacher is not None and report.teacher.mean_oks is not None:
        teacher = report.teacher
        yield f"teacher            mean OKS {teacher.mean_oks:.3f} with {teacher.persons} labelled persons"
    if report.parity is not None:
        parity = report.parity
        yield (
            f"preprocessing      {parity.mean_error_levels:.2f} grey levels from the oracle on average, "
            f"{parity.max_error_levels:.1f} at most, {parity.samples} samples"
        )
        yield f"model input        mean {_three(parity.input_mean)}, deviation {_three(parity.input_std)}"
    if report.ranges is not None:
        ranges = report.ranges
        yield (
            f"ranges             halves of {ranges.crops_each} crops differ by a factor of "
            f"{ranges.median_ratio:.3f} (median), {ranges.p95_ratio:.3f} (95 %), {ranges.worst_ratio:.3f} "
            f"(worst, {ranges.worst[0].name}) over {ranges.tensors} tensors"
        )


def _verdict(report: DataAuditReport) -> Iterator[str]:
    yield from (f"missing: {words}" for words in report.missing)
    yield from (f"PROBLEM: {words}" for words in report.problems)
    yield "fit to calibrate on" if report.fit else "not fit to calibrate on"


def _three(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _equations(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(" = ".join(group[:4]) + (" = ..." if len(group) > 4 else "") for group in groups)


def _listed(names: Sequence[str], most: int = 5) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f": {', '.join(names[:most])}{more}"


@click.group(name="data", epilog="Example: edgepose data audit images/ --against val/")
def command() -> None:
    """Audit a folder of images; draw one of persons who do not exist."""


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
        "--manifest",
        type=PATH,
        metavar="FILE.json",
        callback=free_file_named(".json"),
        help="Write digests and licences.",
    )
)
@replaces(
    click.option(
        "--render",
        type=PATH,
        metavar="FILE.png",
        callback=free_file_named(".png"),
        help="Draw the most suspicious labels.",
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
    from edgepose.host.data.audit.audited_person import write_contact_sheet
    from edgepose.host.data.audit.folder_audit import audit_folder, refuse_unfit_report
    from edgepose.host.data.audit.model_findings import AuditRequest, minimum_pictures
    from edgepose.host.data.data_folder import write_folder_manifest

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
    from edgepose.host.synthetic.image_set import DEFAULT_SIZE_WH, PictureSetRequest, synthesize

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
