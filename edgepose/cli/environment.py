"""``edgepose profiles``, ``doctor`` and ``tools``: what works here."""

from __future__ import annotations

import click

from edgepose.cli.options import json_option
from edgepose.cli.output import progress_bar, say, table, write_report
from edgepose.records.device_profile import DeviceProfile, find_profile, load_profiles
from edgepose.records.record import to_builtins


@click.group(name="profiles", epilog="Example: edgepose profiles show jetson")
def command() -> None:
    """List device profiles; show one."""


@command.command(name="list", epilog="Example: edgepose profiles list --json -")
@json_option
def list_profiles(json_target: str | None) -> None:
    """List every device profile."""
    profiles = load_profiles()
    rows = [
        (p.id, ", ".join(p.aliases) or "-", p.runtime.name, p.runtime.delegate, p.description)
        for p in profiles
    ]
    text = table(("profile", "alias", "runtime", "delegate", "device"), rows)
    report = {"schema": "edgepose.profiles/1", "profiles": [to_builtins(p) for p in profiles]}
    write_report(report, json_target, text)


@command.command(name="show", epilog="Example: edgepose profiles show raspberrypi")
@click.argument("name", metavar="ID")
@json_option
def show_profile(name: str, json_target: str | None) -> None:
    """Show one profile: hardware, runtime, precisions, budgets, camera."""
    profile = find_profile(name)
    report = {"schema": "edgepose.profile/1", **to_builtins(profile)}
    write_report(report, json_target, _describe(profile))


def _describe(profile: DeviceProfile) -> str:
    lines = [f"{profile.id}: {profile.description}"]
    for section in ("hardware", "runtime", "quantization", "budgets", "camera"):
        lines.append(f"\n[{section}]")
        for key, value in to_builtins(getattr(profile, section)).items():
            lines.append(f"  {key:<24}{_shown(value)}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


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


@click.group(name="tools", epilog="Example: edgepose tools install onnx2tf")
def tools_command() -> None:
    """Prepare the locked side environments of tools that cannot live beside the others."""


@tools_command.command(name="install", epilog="Example: edgepose tools install onnx2tf")
@click.argument("name", metavar="NAME")
def install(name: str) -> None:
    """Install NAME (onnx2tf) from its lock file; does nothing when it is up to date."""
    from edgepose.host.tools.installation import install_tool

    with progress_bar(f"installing {name}") as progress:
        folder = install_tool(name, progress)
    say(f"{name} is ready in {folder}")
