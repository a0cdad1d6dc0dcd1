"""``edgepose-device readiness``: whether a device root can take a bundle."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from pathlib import Path

import click

from edgepose.cli.options import json_option, root_option
from edgepose.errors import ConfigError


@click.command(name="readiness", epilog="Example: edgepose-device readiness raspberrypi5 < /dev/null")
@click.argument("profile_id", metavar="PROFILE")
@root_option
@json_option
def readiness_command(profile_id: str, root: Path | None, json_target: str | None) -> None:
    """Say whether this root takes a bundle for PROFILE, and which version it should have.

    Standard input may hold a JSON list of the signers' roots, base64; without any, a root that has pinned
    keys refuses. Nothing is changed.
    """
    from edgepose.cli.output import write_report
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.readiness import check_keys, check_root

    place = root or default_preview_root()
    version = check_root(place, profile_id)
    check_keys(place, _roots(sys.stdin.read()))
    report = {"schema": "edgepose.readiness/1", "root": str(place), "next_version": version}
    write_report(report, json_target, f"{place} takes bundle version {version} for {profile_id}")


def _roots(text: str) -> tuple[bytes, ...]:
    if not text.strip():
        return ()
    try:
        return tuple(base64.b64decode(root, validate=True) for root in json.loads(text))
    except (ValueError, TypeError, binascii.Error) as problem:
        raise ConfigError(f"Standard input is not a JSON list of roots: {problem}.") from problem
