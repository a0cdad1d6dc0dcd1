"""The process is killed at every moment of an installation and a rollback, in real child processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepose.device.install.installed import installed_model, read_status
from edgepose.device.install.installer import Hooks, install_bundle, resume_trial, rollback
from edgepose.device.install.layout import Layout
from edgepose.device.install.state_file import FAULT_POINTS, read_state
from edgepose.device.install.transitions import MAX_TRIAL_ATTEMPTS
from edgepose.errors import ConfigError, DeployError
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, SICK, always, killed_at, moments_of

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY))
RootAct = Callable[[Path, Hooks], object]


@pytest.fixture(name="second")
def _second(bundle_folder: Path) -> Path:
    return bundle_folder / "version2.epb"


@pytest.fixture(name="with_1")
def _with_1(bundle_folder: Path, tmp_path: Path) -> Path:
    root = tmp_path / "with_1"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    return root


@pytest.fixture(name="with_1_and_2")
def _with_1_and_2(with_1: Path, second: Path) -> Path:
    install_bundle(second, with_1, hooks=QUIET)
    return with_1


def cut_everywhere(start: Path, scratch: Path, act: RootAct) -> Iterator[tuple[str, Path]]:
    """For every moment of an action: its name, and a root in which the action was killed there."""

    def fresh(name: str) -> Path:
        root = scratch / name
        if start.exists():
            shutil.copytree(start, root)
        return root

    rehearsal = fresh("rehearsal")
    names = moments_of(lambda hooks: act(rehearsal, hooks))
    for moment, name in enumerate(names):
        root = fresh(f"cut{moment}")
        assert killed_at(moment, lambda hooks, root=root: act(root, hooks)), name  # type: ignore[misc]
        yield name, root


def entries(root: Path) -> set[str]:
    """Everything in a root but the files inside its slots."""
    found = [*root.iterdir(), *(root / "slots").iterdir()]
    return {path.relative_to(root).as_posix() for path in found}


def assert_tidy(root: Path, slots: set[str]) -> None:
    assert entries(root) == {"lock", "state.json", "slots"} | {f"slots/{slot}" for slot in slots}
    assert read_state(Layout(root)).pending is None


def test_the_fault_points_are_exactly_the_moments_of_an_installation(with_1: Path, second: Path) -> None:
    names = moments_of(lambda hooks: install_bundle(second, with_1, hooks=hooks))
    assert set(names) == set(FAULT_POINTS)


def test_an_update_killed_at_any_moment_leaves_the_old_or_the_new_version_whole(
    with_1: Path, second: Path, tmp_path: Path
) -> None:
    outcomes = []
    for name, root in cut_everywhere(
        with_1, tmp_path, lambda root, hooks: install_bundle(second, root, hooks=hooks)
    ):
        # installed_model checks every file's digest from the disk.
        outcomes.append((name, installed_model(root).manifest.bundle_version))
        report = install_bundle(second, root, hooks=QUIET)
        assert report.bundle_version == 2
        assert_tidy(root, {"a", "b"})
    versions = [version for _, version in outcomes]
    assert versions == sorted(versions), outcomes
    assert outcomes[-1] == ("decided", 2)
    assert outcomes[-2] == ("state_renamed", 2)
    assert outcomes[-3] == ("state_written_aside", 1)


def test_a_first_installation_killed_at_any_moment_leaves_nothing_or_the_version_whole(
    second: Path, tmp_path: Path
) -> None:
    for name, root in cut_everywhere(
        tmp_path / "nothing", tmp_path, lambda root, hooks: install_bundle(second, root, hooks=hooks)
    ):
        try:
            assert installed_model(root).manifest.bundle_version == 2
        except ConfigError as problem:
            assert "Nothing is installed" in problem.message, name  # noqa: PT017
        assert install_bundle(second, root, hooks=QUIET).bundle_version == 2
        assert_tidy(root, {"a", "b"} if name == "decided" or entries(root) >= {"slots/b"} else {"a"})


def test_a_rollback_killed_at_any_moment_leaves_both_versions_whole(
    with_1_and_2: Path, tmp_path: Path
) -> None:
    outcomes = []
    for name, root in cut_everywhere(with_1_and_2, tmp_path, lambda root, hooks: rollback(root, hooks=hooks)):
        active = installed_model(root).manifest.bundle_version
        outcomes.append((name, active))
        assert rollback(root, hooks=QUIET).bundle_version == 3 - active
        assert_tidy(root, {"a", "b"})
    assert [version for _, version in outcomes] == [2] * (len(outcomes) - 2) + [1, 1]


def test_a_cut_off_update_is_told_in_the_history(with_1: Path, second: Path) -> None:
    moment = moments_of(lambda hooks: rehearse(with_1, second, hooks)).index("staged")
    assert killed_at(moment, lambda hooks: install_bundle(second, with_1, hooks=hooks))
    install_bundle(second, with_1, hooks=QUIET)
    events = [(event.event, event.bundle_version) for event in read_status(with_1).history]
    assert events == [("installed", 1), ("interrupted", 2), ("installed", 2)]


def rehearse(root: Path, bundle: Path, hooks: Hooks) -> None:
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    install_bundle(bundle, copy, hooks=hooks)


def kill_in_health_check(root: Path, act: RootAct) -> None:
    copy = root.with_name(f"copy{len(list(root.parent.iterdir()))}")
    shutil.copytree(root, copy)
    moment = moments_of(lambda hooks: act(copy, hooks)).index("attempt_counted")
    assert killed_at(moment, lambda hooks: act(root, hooks))


def test_a_trial_cut_off_is_decided_when_the_device_starts(with_1: Path, second: Path) -> None:
    kill_in_health_check(with_1, lambda root, hooks: install_bundle(second, root, hooks=hooks))
    assert installed_model(with_1).manifest.bundle_version == 1
    report = resume_trial(with_1, QUIET)
    assert report is not None
    assert report.bundle_version == 2
    assert resume_trial(with_1, QUIET) is None


def test_a_version_that_takes_the_device_down_at_every_trial_is_given_up(with_1: Path, second: Path) -> None:
    kill_in_health_check(with_1, lambda root, hooks: install_bundle(second, root, hooks=hooks))
    for _ in range(MAX_TRIAL_ATTEMPTS - 1):
        kill_in_health_check(with_1, resume_trial)
    assert resume_trial(with_1, QUIET) is None
    assert installed_model(with_1).manifest.bundle_version == 1
    assert_tidy(with_1, {"a"})


def test_a_trial_that_fails_when_the_device_starts_is_taken_back(with_1: Path, second: Path) -> None:
    kill_in_health_check(with_1, lambda root, hooks: install_bundle(second, root, hooks=hooks))
    with pytest.raises(DeployError, match="version 1 stays active"):
        resume_trial(with_1, Hooks(check_health=always(SICK)))
    assert_tidy(with_1, {"a"})


def test_files_damaged_before_the_device_starts_fail_the_trial(with_1: Path, second: Path) -> None:
    kill_in_health_check(with_1, lambda root, hooks: install_bundle(second, root, hooks=hooks))
    model = with_1 / "slots" / "b" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(DeployError, match=r"model\.onnx"):
        resume_trial(with_1, QUIET)
    assert installed_model(with_1).manifest.bundle_version == 1
