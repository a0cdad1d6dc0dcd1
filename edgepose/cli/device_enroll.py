"""``edgepose-device enroll``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option, root_option


@click.command(
    name="enroll", epilog="Example: edgepose-device enroll 1.root.json --fingerprint SHA256:9f86d08..."
)
@click.argument("root_file", type=PATH, metavar="ROOT.json")
@click.option(
    "--fingerprint", metavar="SHA256:HEX", help="What the file must have, as `edgepose keys show` says."
)
@root_option
@json_option
def enroll_command(
    root_file: Path, fingerprint: str | None, root: Path | None, json_target: str | None
) -> None:
    """Pin the keys of whoever signs for this device, once: from then on it takes only their bundles."""
    from edgepose.cli.output import write_report
    from edgepose.cli.verification import read_root_file
    from edgepose.device.install.enrolment import enroll_device
    from edgepose.device.install.layout import default_preview_root
    from edgepose.device.install.owner import become_owner

    content = read_root_file(root_file)
    place = root or default_preview_root()
    become_owner(place)
    pinned = enroll_device(place, content, fingerprint)
    report = {"schema": "edgepose.enrolment/1", "root": str(place), "fingerprint": pinned}
    write_report(report, json_target, f"{place} has pinned {pinned}")
