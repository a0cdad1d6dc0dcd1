"""``edgepose-device`` on what is installed: install, enroll, readiness, verify, health, privacy-check."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from pathlib import Path
from typing import Any

import click

from edgepose.cli.options import PATH, install_options, json_option, local_root_option, root_option
from edgepose.cli.output import say, table, write_report
from edgepose.device.install.installed import InstalledModel
from edgepose.errors import ConfigError
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_status import HealthReport
from edgepose.records.record import to_builtins


@click.command(
    name="install", epilog="Example: edgepose-device install pose.epb --root /var/lib/edgepose/root"
)
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@install_options
@click.option(
    "--enroll",
    metavar="ROOT.json",
    help="Keys that are pinned where none are pinned yet; - is standard input.",
)
@local_root_option
@json_option
def command(
    bundle: Path, *, install: InstallOptions, enroll: str | None, root: Path, json_target: str | None
) -> None:
    """Verify a bundle, install it into the slot that does not run, check its health, make it active."""
    from edgepose.cli.status import describe_install
    from edgepose.device.install.installer import install_bundle
    from edgepose.device.install.owner import become_owner
    from edgepose.trust.verification import read_root_file

    pinned = None
    if enroll is not None:
        pinned = sys.stdin.buffer.read() if enroll == "-" else read_root_file(Path(enroll))
    become_owner(root)
    installed = install_bundle(bundle, root, enroll=pinned, report=say, **to_builtins(install))
    report, text = describe_install(installed)
    write_report(report, json_target, text)


@click.command(
    name="enroll", epilog="Example: edgepose-device enroll 1.root.json --fingerprint SHA256:9f86d08..."
)
@click.argument("root_file", type=PATH, metavar="ROOT.json")
@click.option(
    "--fingerprint", metavar="SHA256:HEX", help="What the file must have, as `edgepose keys show` says."
)
@local_root_option
@json_option
def enroll_command(root_file: Path, fingerprint: str | None, root: Path, json_target: str | None) -> None:
    """Pin the keys of whoever signs for this device, once: from then on it takes only their bundles."""
    from edgepose.device.install.owner import become_owner
    from edgepose.device.install.readiness import enroll_device
    from edgepose.trust.verification import read_root_file

    content = read_root_file(root_file)
    become_owner(root)
    pinned = enroll_device(root, content, fingerprint)
    report = {"schema": "edgepose.enrolment/1", "root": str(root), "fingerprint": pinned}
    write_report(report, json_target, f"{root} has pinned {pinned}")


@click.command(name="readiness", epilog="Example: edgepose-device readiness raspberrypi5 < /dev/null")
@click.argument("profile_id", metavar="PROFILE")
@local_root_option
@json_option
def readiness_command(profile_id: str, root: Path, json_target: str | None) -> None:
    """Say whether this root takes a bundle for PROFILE, and which version it should have.

    Standard input may hold a JSON list of the signers' roots, base64; without any, a root that has pinned
    keys refuses. Nothing is changed.
    """
    from edgepose.device.install.readiness import check_keys, check_root

    version = check_root(root, profile_id)
    check_keys(root, _roots(sys.stdin.read()))
    report = {"schema": "edgepose.readiness/1", "root": str(root), "next_version": version}
    write_report(report, json_target, f"{root} takes bundle version {version} for {profile_id}")


def _roots(text: str) -> tuple[bytes, ...]:
    if not text.strip():
        return ()
    try:
        return tuple(base64.b64decode(root, validate=True) for root in json.loads(text))
    except (ValueError, TypeError, binascii.Error) as problem:
        raise ConfigError(f"Standard input is not a JSON list of roots: {problem}.") from problem


def describe_health(report: HealthReport) -> tuple[dict[str, Any], str]:
    """A health check as JSON and as text."""
    rows: dict[str, object] = {
        "healthy": "yes" if report.passed else "no",
        "verified on": f"{report.verified_on}, accelerator {report.accelerator.replace('_', ' ')}",
        "golden": f"{report.frames} frames, worst OKS {report.worst_oks}",
    }
    if report.latency_ms is not None:
        rows["latency"] = f"{report.latency_ms.p50} ms median, {report.latency_ms.p95} ms p95"
    return {"schema": "edgepose.health/1", **to_builtins(report)}, _aligned(rows)


def describe_installed(installed: InstalledModel) -> tuple[dict[str, Any], str]:
    """The checked files of an installed version as JSON and as text."""
    manifest = installed.manifest
    compiled = manifest.accelerator
    report = {
        "schema": "edgepose.verification/1",
        "path": str(installed.folder),
        "verified": True,
        "signed": installed.signed_by is not None,
        "signed_by": installed.signed_by,
        "manifest": to_builtins(manifest),
    }
    rows = {
        "installed": f"slot {installed.slot}, version {manifest.bundle_version}",
        "profile": manifest.profile.id,
        "model": f"{manifest.model.spec.name} {manifest.model.spec.version}, {manifest.model.precision}",
        "model sha256": manifest.model.sha256,
        **({compiled.title.lower(): compiled.describe()} if compiled else {}),
        "files": f"{len(manifest.files)}, digests and sizes right",
        "signed": f"yes, by {installed.signed_by}" if installed.signed_by else "no",
    }
    return report, _aligned(rows)


def _aligned(rows: dict[str, object] | dict[str, str]) -> str:
    return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


@click.command(name="verify", epilog="Example: edgepose-device verify")
@click.argument("bundle", type=PATH, metavar="[FILE.epb]", required=False)
@root_option
@click.option(
    "--root-key", type=PATH, metavar="ROOT.json", help="Root that must have led to the bundle's signatures."
)
@json_option
def verify_command(
    bundle: Path | None, root: Path | None, root_key: Path | None, json_target: str | None
) -> None:
    """Check every file of the installed model against its manifest, or a bundle by the keys that this device
    has pinned.
    """  # noqa: D205
    if bundle is not None and root is not None:
        raise click.UsageError("Give FILE.epb or --root, not both.")
    if bundle is None and root_key is not None:
        raise click.UsageError("--root-key goes with FILE.epb.")
    from edgepose.cli.bundle import describe_bundle

    if bundle is not None:
        from edgepose.device.install.installed import pinned_keys
        from edgepose.trust.verification import check_by_anchor, check_by_root, read_root_file

        if root_key is not None:
            verified = check_by_root(bundle, read_root_file(root_key))
        else:
            verified = check_by_anchor(bundle, pinned_keys())
        report, text = describe_bundle(bundle, verified)
    else:
        from edgepose.device.install.installed import installed_model

        report, text = describe_installed(installed_model(root))
    write_report(report, json_target, text)


@click.command(name="health", epilog="Example: edgepose-device health --json -")
@root_option
@json_option
def health_command(root: Path | None, json_target: str | None) -> None:
    """Replay the golden frames through the installed model; an unhealthy one ends with exit code 9."""
    from edgepose.device.install.health import check_installed, require_healthy

    health = check_installed(root)
    report, text = describe_health(health)
    write_report(report, json_target, text)
    require_healthy(health)


@click.command(name="privacy-check", epilog="Example: edgepose-device privacy-check --json privacy.json")
@click.option(
    "--without-sandbox",
    is_flag=True,
    help="Negative control: the same ways from a process that is not locked; ends with exit code 9.",
)
@json_option
def privacy_check_command(*, without_sandbox: bool, json_target: str | None) -> None:
    """Try every known way out of a process that is locked in, and fail unless all are refused."""
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
