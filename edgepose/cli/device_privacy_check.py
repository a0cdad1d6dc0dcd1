"""``edgepose-device privacy-check``."""

from __future__ import annotations

import click

from edgepose.cli.options import json_option


@click.command(name="privacy-check", epilog="Example: edgepose-device privacy-check --json privacy.json")
@click.option(
    "--without-sandbox",
    is_flag=True,
    help="Negative control: the same ways from a process that is not locked; ends with exit code 9.",
)
@json_option
def command(*, without_sandbox: bool, json_target: str | None) -> None:
    """Try every known way out of a process that is locked in, and fail unless all are refused."""
    from edgepose.cli.output import table, write_report
    from edgepose.device.sandbox.privacy_check import check_privacy, require_private

    report = check_privacy(sandbox=not without_sandbox)
    rows = [
        (
            row.way,
            "refused" if row.refused else "OPEN",
            row.control,
            row.how,
            row.control_how if report.sandbox else "",
        )
        for row in report.ways
    ]
    text = table(("way out", "outcome", "without the lock", "how", "how without the lock"), rows)
    refused = sum(row.refused for row in report.ways)
    lines = [
        f"{refused} of {len(report.ways)} ways are refused; {report.proven} of them are open without it.",
        f"The planted secret arrived {report.arrived} times.",
        *([f"The lock: {', '.join(report.mechanisms)}."] if report.mechanisms else []),
        *(f"Not guaranteed: {words}" for words in report.not_guaranteed),
    ]
    write_report(report, json_target, text + "\n\n" + "\n".join(lines))
    require_private(report)
