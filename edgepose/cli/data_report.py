"""What ``edgepose data audit`` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepose.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgepose.spec.data_audit import DataAuditReport, Spread

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
    return [_row(name, spread) for name, spread in rows]


def _row(name: str, spread: Spread) -> tuple[object, ...]:
    return (name, spread.low, spread.p5, spread.median, spread.p95, spread.high)


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
