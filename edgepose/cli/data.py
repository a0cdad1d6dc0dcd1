"""``edgepose data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import PATH, json_option
from edgepose.cli.output import write_report

if TYPE_CHECKING:
    from edgepose.spec.quantization_report import DataAuditReport


@click.group(name="data", epilog="Example: edgepose data audit images/ --against val/")
def command() -> None:
    """Audit a folder of images."""


@command.command(name="audit", epilog="Example: edgepose data audit calibration/ --against validation/")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--against", type=PATH, metavar="DIR", help="Folder that must not share pictures with DIR.")
@json_option
def audit(folder: Path, against: Path | None, json_target: str | None) -> None:
    """Count what DIR holds: unreadable files, copies, missing labels, pictures shared with another folder."""
    from edgepose.host.data.folder_audit import audit_folder

    report = audit_folder(folder, against)
    write_report(report, json_target, _describe(report))


def _describe(report: DataAuditReport) -> str:
    counts = report.counts
    copies = tuple(" = ".join(group) for group in report.duplicate_groups)
    low, median, high = report.brightness_low, report.brightness_median, report.brightness_high
    lines = [
        f"{report.folder}: {counts.images} usable pictures, digest {report.digest}",
        f"unreadable         {counts.unreadable}{_listed(report.unreadable_files)}",
        f"other files        {counts.other_files}",
        f"exact copies       {counts.exact_duplicates}{_listed(copies)}",
        f"brightness         {low:.0f} to {high:.0f}, median {median:.0f} (0 to 255)",
    ]
    if counts.has_labels:
        lines.append(f"labels             {counts.labels_without_image} without picture")
        lines.append(f"pictures           {counts.images_without_label} without label")
    else:
        lines.append("labels             none")
    if report.against is not None:
        shared = len(report.leaked_files)
        lines.append(f"shared with {report.against}: {shared}{_listed(report.leaked_files)}")
    return "\n".join(lines)


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f": {', '.join(names[:most])}{more}"
