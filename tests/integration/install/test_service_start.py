"""What a service decides when it starts: staged cards, versions that do not stay up, trials left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edgepose.device.install.installed import read_status
from edgepose.device.install.installer import Hooks, install_bundle
from edgepose.device.install.layout import Layout
from edgepose.device.install.service_start import begin_service, prove_service
from edgepose.device.install.state_file import read_state
from edgepose.device.install.transitions import MAX_UNPROVEN_STARTS
from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.records.device_status import HealthReport
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, SICK, always, killed_at, moments_of

__all__ = ["bundle_folder"]

HERE: HealthReport = msgspec.structs.replace(HEALTHY, verified_on="device")
ON_DEVICE = Hooks(check_health=always(HERE), is_device=lambda _hardware: True)
ELSEWHERE = Hooks(check_health=always(HEALTHY), is_device=lambda _hardware: False)
SICK_HERE = replace(ON_DEVICE, check_health=always(SICK))


@pytest.fixture(name="staged")
def _staged(bundle_folder: Path, tmp_path: Path) -> Path:
    """A root as on a card that was written on another machine."""
    root = tmp_path / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=ELSEWHERE)
    return root


@pytest.fixture(name="updated")
def _updated(bundle_folder: Path, tmp_path: Path) -> Path:
    """A device with version 1, and version 2 just installed."""
    root = tmp_path / "root"
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", root, hooks=ON_DEVICE)
    return root


def test_a_staged_card_is_verified_at_the_first_start_and_then_no_more(staged: Path) -> None:
    checks: list[Path] = []

    def check(folder: Path, _digest: str) -> HealthReport:
        checks.append(folder)
        return HERE

    hooks = replace(ON_DEVICE, check_health=check)
    assert read_status(staged).verified_on == "host"
    for _ in range(2):
        begin_service(staged, hooks=hooks)
    status = read_status(staged)
    assert len(checks) == 1
    assert status.verified_on == "device"
    assert [event.event for event in status.history] == ["installed", "verified"]


def test_a_card_that_is_still_elsewhere_stays_staged(staged: Path) -> None:
    begin_service(staged, hooks=ELSEWHERE)
    assert read_status(staged).verified_on == "host"


def test_a_staged_version_that_is_sick_here_does_not_run(staged: Path) -> None:
    with pytest.raises(DeployError, match=r"not healthy here: sick\. It does not run"):
        begin_service(staged, hooks=SICK_HERE)
    assert read_status(staged).verified_on == "host"


def test_a_damaged_card_is_refused(staged: Path) -> None:
    model = next((staged / "slots" / "a").glob("model.*"))
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(TrustError):
        begin_service(staged, hooks=ON_DEVICE)


def test_a_version_that_does_not_stay_up_makes_way_for_the_one_before(updated: Path) -> None:
    for _ in range(MAX_UNPROVEN_STARTS):
        begin_service(updated, hooks=ON_DEVICE)
        assert read_status(updated).bundle_version == 2
    begin_service(updated, hooks=ON_DEVICE)
    status = read_status(updated)
    assert status.bundle_version == 1
    assert status.history[-1].event == "rolled_back"
    assert "version 2 was started 3 times and never ran steadily" in status.history[-1].detail
    # It is believed from now on: nothing swings to and fro.
    for _ in range(MAX_UNPROVEN_STARTS + 1):
        begin_service(updated, hooks=ON_DEVICE)
    assert read_status(updated).bundle_version == 1


def test_a_version_that_ran_steadily_once_may_be_restarted_for_ever(updated: Path) -> None:
    begin_service(updated, hooks=ON_DEVICE)
    prove_service(updated)
    for _ in range(MAX_UNPROVEN_STARTS + 2):
        begin_service(updated, hooks=ON_DEVICE)
    assert read_status(updated).bundle_version == 2


def test_the_only_version_is_never_given_up(staged: Path) -> None:
    for _ in range(MAX_UNPROVEN_STARTS + 2):
        begin_service(staged, hooks=ON_DEVICE)
    assert read_status(staged).bundle_version == 1


def test_a_trial_that_a_power_cut_left_open_is_decided(bundle_folder: Path, staged: Path) -> None:
    def act(hooks: Hooks) -> object:
        return install_bundle(bundle_folder / "version2.epb", staged, hooks=hooks)

    names = moments_of(act)
    assert names.index("trial_begun") < names.index("decided")
    second = staged.parent / "second"
    install_bundle(bundle_folder / "version1.epb", second, hooks=ELSEWHERE)
    moment = names.index("attempt_counted")
    assert killed_at(
        moment, lambda hooks: install_bundle(bundle_folder / "version2.epb", second, hooks=hooks)
    )
    assert read_state(Layout(second)).pending is not None
    begin_service(second, hooks=ON_DEVICE)
    assert read_state(Layout(second)).pending is None
    assert read_status(second).bundle_version == 2


@pytest.mark.parametrize("act", [begin_service, lambda root: begin_service(root, hooks=ON_DEVICE)])
def test_an_empty_root_has_nothing_to_start(act: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Nothing is installed"):
        act(tmp_path)


def test_a_start_killed_at_any_moment_leaves_a_whole_version(updated: Path, tmp_path: Path) -> None:
    import shutil

    for _ in range(MAX_UNPROVEN_STARTS):
        begin_service(updated, hooks=ON_DEVICE)
    for moment in range(12):
        root = tmp_path / f"cut{moment}"
        shutil.copytree(updated, root)
        killed = killed_at(moment, lambda hooks, root=root: begin_service(root, hooks=hooks))  # type: ignore[misc]
        begin_service(root, hooks=ON_DEVICE)
        status = read_status(root)
        assert status.files_intact
        assert status.bundle_version in {1, 2}
        if not killed:
            return
    pytest.fail("a start has fewer moments than that")
