"""Rollouts by Ansible to several real sshds here: stages, limits, what is told apart, what goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, DeployError
from edgepose.host.deploy.fleet.inventory import FleetHost, read_inventory, ssh_config_text
from edgepose.host.deploy.fleet.rollout import RolloutPlan, require_complete, roll_out
from edgepose.host.deploy.ssh.connection import connect
from edgepose.records.deployment_report import RolloutReport
from edgepose.records.device_profile import DeviceProfile
from tests.support.loopback_device import LoopbackDevice, copied_device, loopback_device
from tests.support.ssh_fixtures import (
    bundle_request,
    impatient,
    install_over_ssh,
    ssh_bundles,
    ssh_profile,
    ssh_profile_path,
)

__all__ = ["ssh_bundles", "ssh_profile", "ssh_profile_path"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ssh")]
COUNT = 4


@dataclass
class Fleet:
    """Devices d0 to d3, each with version 1, and their inventory."""

    folder: Path
    devices: list[LoopbackDevice]

    @property
    def inventory(self) -> Path:
        return self.folder / "hosts.yml"

    def write_inventory(self) -> None:
        hosts = {
            f"d{number}": {
                "ansible_host": "127.0.0.1",
                "ansible_port": device.port,
                "ansible_ssh_private_key_file": str(device.folder / "user_key"),
                "edgepose_host_fingerprint": device.fingerprint,
            }
            for number, device in enumerate(self.devices)
        }
        # JSON is YAML.
        self.inventory.write_text(json.dumps({"all": {"children": {"cameras": {"hosts": hosts}}}}))

    def plan(self, bundle: Path, **changes: object) -> RolloutPlan:
        plan = RolloutPlan(self.inventory, self.folder / "rollout", **changes)  # type: ignore[arg-type]
        plan.folder.mkdir(exist_ok=True)
        plan.bundle.write_bytes(bundle.read_bytes())
        return plan

    def roll_out(self, plan: RolloutPlan) -> RolloutReport:
        return roll_out(plan, read_inventory(self.inventory), lambda _line: None)

    def version(self, number: int) -> object:
        device = self.devices[number]
        with connect(device.address(), device.known_hosts) as connection:
            return connection.ask("status")["bundle_version"]


@pytest.fixture(scope="module", name="prepared")
def _prepared(
    tmp_path_factory: pytest.TempPathFactory, ssh_bundles: Path, ssh_profile: DeviceProfile
) -> Iterator[Path]:
    with loopback_device(tmp_path_factory.mktemp("prepared") / "loopback") as device:
        install_over_ssh(device, ssh_bundles / "1.epb", ssh_profile)
        yield device.base


@pytest.fixture(name="fleet")
def _fleet(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with ExitStack() as opened:
        devices = [
            opened.enter_context(copied_device(tmp_path / f"d{number}", prepared)) for number in range(COUNT)
        ]
        fleet = Fleet(tmp_path, devices)
        fleet.write_inventory()
        yield fleet


def outcomes(report: RolloutReport) -> list[str]:
    return [one.outcome for one in report.hosts]


def test_every_device_gets_it_in_stages(fleet: Fleet, ssh_bundles: Path) -> None:
    report = fleet.roll_out(fleet.plan(ssh_bundles / "2.epb"))
    assert outcomes(report) == ["installed"] * COUNT
    require_complete(report)
    assert [fleet.version(number) for number in range(COUNT)] == [2] * COUNT
    log = (fleet.folder / "rollout" / "ansible.log").read_text()
    # The canary alone, then the others: two plays of the engine.
    assert log.count("PLAY [edgepose rollout]") >= 2


def test_an_unreachable_device_is_told_apart_and_the_next_call_goes_on(
    fleet: Fleet, ssh_bundles: Path, tmp_path: Path
) -> None:
    lost = fleet.devices[2]
    lost.process.terminate()
    lost.process.wait()
    plan = fleet.plan(ssh_bundles / "2.epb", failure_limit=60)
    report = fleet.roll_out(plan)
    assert outcomes(report) == ["installed", "installed", "unreachable", "installed"]
    with pytest.raises(DeployError, match="1 unreachable of 4"):
        require_complete(report)
    before = (plan.records / "d0.json").stat().st_mtime_ns
    with copied_device(tmp_path / "again", lost.base) as again:
        fleet.devices[2] = again
        fleet.write_inventory()
        report = fleet.roll_out(plan)
    assert outcomes(report) == ["installed"] * COUNT
    assert report.resumed
    assert (plan.records / "d0.json").stat().st_mtime_ns == before


def test_a_canary_that_fails_stops_the_rollout(
    fleet: Fleet, ssh_profile: DeviceProfile, tmp_path: Path
) -> None:
    from edgepose.host.bundle.builder import build_bundle

    slow = tmp_path / "slow.epb"
    build_bundle(bundle_request(impatient(ssh_profile), slow, 5))
    report = fleet.roll_out(fleet.plan(slow))
    assert outcomes(report) == ["failed", "not_attempted", "not_attempted", "not_attempted"]
    assert "failed its health check" in report.hosts[0].message
    assert [fleet.version(number) for number in range(COUNT)] == [1] * COUNT


def test_the_command_line_prepares_once_and_ends_with_a_table(
    fleet: Fleet, ssh_profile_path: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "edgepose", "deploy", "--profile", ssh_profile_path]
    words += ["--inventory", fleet.inventory, "--rollout", tmp_path / "r", "--json", tmp_path / "r.json"]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    planned = subprocess.run(
        [*words, "--dry-run"], capture_output=True, text=True, check=False, env=environment
    )
    assert planned.returncode == 0, planned.stderr
    assert "roll out in stages of 1, 10%, 100%" in planned.stderr
    assert not (tmp_path / "r").exists()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["complete"]
    assert report["bundle_version"] == 2
    assert [row.split()[0] for row in done.stdout.splitlines()[-COUNT:]] == ["d0", "d1", "d2", "d3"]


def test_what_is_no_inventory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no inventory"):
        read_inventory(tmp_path / "missing.yml")
    empty = tmp_path / "empty.yml"
    empty.write_text("all: {hosts: {}}\n")
    with pytest.raises(ConfigError, match="has no host"):
        read_inventory(empty)
    broken = tmp_path / "broken.yml"
    broken.write_text("all: [unclosed\n")
    with pytest.raises(ConfigError, match=r"cannot read|has no host"):
        read_inventory(broken)


@pytest.mark.parametrize("value", ["a\nProxyCommand evil", 'quote"', ""])
def test_a_value_that_would_be_another_line_for_ssh_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="ssh cannot take"):
        ssh_config_text([FleetHost("d0", {"ansible_host": value})])


def test_a_host_that_could_be_an_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no device address"):
        ssh_config_text([FleetHost("-oProxyCommand=evil", {})])


@pytest.mark.parametrize("stages", [("0",), ("ten",), ("10%%",), ()])
def test_stages_that_are_none_are_refused(stages: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are no stages"):
        RolloutPlan(tmp_path, tmp_path, stages)
