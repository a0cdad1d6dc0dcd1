"""The record of a deployment: typed parts that write the very bytes that plain ones wrote before."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import pytest

from edgepose.cli.output import write_report
from edgepose.records.deployment_report import DeploymentReport, InstallationReport
from edgepose.records.record import from_json, to_builtins

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("name", ["deployment", "deployment_plan"])
def test_a_record_of_version_0_1_is_read_and_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    golden, again = GOLDEN / f"{name}.json", tmp_path / "again.json"
    report = from_json(golden.read_bytes(), DeploymentReport, name)
    with click.Context(click.Command("deploy")):
        write_report(report, str(again))
    assert again.read_bytes() == golden.read_bytes()


def test_what_only_a_device_behind_ssh_says_is_left_out_elsewhere() -> None:
    installed = from_json((GOLDEN / "deployment.json").read_bytes(), DeploymentReport, "").installation
    assert isinstance(installed, InstallationReport)
    there = msgspec.structs.replace(installed, host="pi@camera-3", bytes_sent=1234)
    assert to_builtins(there) == {**to_builtins(installed), "host": "pi@camera-3", "bytes_sent": 1234}
    assert list(to_builtins(there))[-2:] == ["host", "bytes_sent"]
