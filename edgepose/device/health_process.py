"""The health check as a process of its own: ``python -m edgepose.device.health_process``.

A model that crashes its runtime takes this process down and not the installer, and the runtime starts
as fresh as it will after a restart of the device.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edgepose.device.install.golden_check import check_health
from edgepose.device.install.slot_files import read_slot_manifest
from edgepose.inference.machine import this_is_the_device
from edgepose.spec.records import to_json


def main() -> None:
    """Checks one unpacked bundle and writes the report to a file descriptor.

    The report does not go to standard output, where native libraries write as they like.
    """
    parser = argparse.ArgumentParser(prog="edgepose.device.health_process")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--manifest-sha256", required=True)
    parser.add_argument("--engine-cache", type=Path)
    parser.add_argument("--report-fd", type=int, required=True)
    arguments = parser.parse_args()
    manifest = read_slot_manifest(arguments.folder, arguments.manifest_sha256)
    on_device = this_is_the_device(manifest.profile.hardware)
    cache = arguments.engine_cache
    report = check_health(arguments.folder, manifest, on_device=on_device, engine_cache=cache)
    with os.fdopen(arguments.report_fd, "w", encoding="utf-8") as stream:
        stream.write(to_json(report))


if __name__ == "__main__":
    main()
