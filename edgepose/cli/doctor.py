"""``edgepose doctor``."""

from __future__ import annotations

import click

from edgepose.cli.options import json_option
from edgepose.cli.output import table, write_report


@click.command(name="doctor", epilog="Example: edgepose doctor --json -")
@json_option
def doctor_command(json_target: str | None) -> None:
    """Show what is installed, which profiles and accelerators work here, and what is missing."""
    from edgepose.host.doctor import DoctorReport, examine

    def describe(report: DoctorReport) -> str:
        checks = [(check.state, check.name, check.detail) for check in report.checks]
        profiles = [(p.profile, p.build, p.run, ", ".join(p.missing)) for p in report.profiles]
        remedies = [f"  {check.remedy}" for check in report.checks if check.remedy]
        parts = [
            table(("state", "what", "found"), checks),
            table(("profile", "build here", "run here", "missing"), profiles),
        ]
        if remedies:
            parts.append("To bring what is missing:\n" + "\n".join(dict.fromkeys(remedies)))
        return "\n\n".join(parts)

    report = examine()
    write_report(report, json_target, describe(report))
