"""``edgepose profiles``."""

from __future__ import annotations

import click

from edgepose.cli.options import json_option
from edgepose.cli.output import table, write_report
from edgepose.spec.device_profile import DeviceProfile, find_profile, load_profiles
from edgepose.spec.records import to_builtins


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
