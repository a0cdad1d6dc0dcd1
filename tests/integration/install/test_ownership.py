"""A device root of two users: one installs, the other runs the model and writes ``var`` alone. Needs root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edgepose.device.install.health import report_of
from edgepose.device.install.installed import installed_model, read_status, running_sandbox
from edgepose.device.install.installer import Hooks, install_bundle
from edgepose.device.install.layout import Layout, require_own_var
from edgepose.device.install.owner import as_service, hand_over, make_var_for, require_safe_way
from edgepose.device.install.readiness import enroll_device
from edgepose.device.install.service_start import (
    begin_service,
    excuse_service,
    prove_service,
    require_decided,
)
from edgepose.device.install.state_file import read_state
from edgepose.device.install.transitions import MAX_UNPROVEN_STARTS
from edgepose.device.monitor.store import TelemetryPlace
from edgepose.device.run.estimator_choice import EstimatorChoice
from edgepose.device.run.observers import telemetry_root
from edgepose.device.units import installation
from edgepose.errors import ConfigError, DeployError
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, always
from tests.support.pictures import write_pictures
from tests.support.signed_bundles import NOW, Signer

__all__ = ["bundle_folder"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")

SERVICE = "nobody"
HERE = msgspec.structs.replace(HEALTHY, verified_on="device")
QUIET = Hooks(check_health=always(HERE), is_device=lambda _hardware: True, clock=lambda: NOW)


@pytest.fixture(name="place")
def _place() -> Iterator[Path]:
    """A folder into which other users may look; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="edgepose-owner-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="root")
def _root(place: Path, bundle_folder: Path, tmp_path: Path) -> Path:
    """Signed version 1, and version 2 just installed; ``var`` is the service's."""
    signer, root = Signer.make(tmp_path / "keys"), place / "root"
    enroll_device(root, signer.root())
    for version in (1, 2):
        signed = signer.sign(bundle_folder / f"version{version}.epb", tmp_path / f"{version}.epb")
        install_bundle(signed, root, hooks=QUIET)
    hand_over(root, SERVICE)
    return root


def as_user(act: Callable[[], object]) -> str:
    """What became of an action of the service's user: ``done``, or the name of its error."""
    entry, (reader, writer) = pwd.getpwnam(SERVICE), os.pipe()
    child = os.fork()
    if child == 0:
        outcome = "done"
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            act()
        except BaseException as problem:  # noqa: BLE001 (the test sees it)
            outcome = type(problem).__name__
        finally:
            os.write(writer, outcome.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as stream:
        return stream.read().decode()


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_uid, stat.S_IMODE(path.lstat().st_mode))
        for path in sorted(folder.rglob("*"))
    }


def test_the_services_user_can_change_nothing_of_what_is_installed(root: Path) -> None:
    kept = [path for path in root.rglob("*") if path.is_file() and Layout(root).var not in path.parents]
    names = {path.name for path in kept}
    assert {"state.json", "anchor.json", "manifest.json", "model.onnx", "targets.json", "lock"} <= names
    for path in kept:
        assert as_user(lambda path=path: path.open("ab")) == "PermissionError", path  # type: ignore[misc]
        assert as_user(path.unlink) == "PermissionError", path
        assert as_user(lambda path=path: path.chmod(0o666)) == "PermissionError", path  # type: ignore[misc]
        assert as_user(lambda path=path: path.rename(path.with_name("x"))) == "PermissionError", path  # type: ignore[misc]
    for folder in {root, *(path.parent for path in kept)}:
        assert as_user((folder / "planted").touch) == "PermissionError", folder
    for name in ("var", "slots", "trust"):
        assert as_user(lambda name=name: (root / name).rename(root / "y")) == "PermissionError"  # type: ignore[misc]
    # Whoever could open the lock could keep updates out by holding it.
    assert as_user(lambda: (root / "lock").open("rb")) == "PermissionError"
    # The negative controls: it can read, run what is there, and write what is its own.
    assert as_user(lambda: installed_model(root)) == "done"
    assert as_user((root / "var" / "own").touch) == "done"
    assert read_status(root).writable_by_service is False


def test_a_root_that_the_service_owns_is_said_to_be_writable(root: Path) -> None:
    entry = pwd.getpwnam(SERVICE)
    os.chown(root / "state.json", entry.pw_uid, entry.pw_gid)
    assert read_status(root).writable_by_service is True


def test_a_root_of_an_older_release_is_taken_back_and_what_it_wrote_moves_into_var(root: Path) -> None:
    entry = pwd.getpwnam(SERVICE)
    shutil.move(root / "var", root / "telemetry")
    (root / "telemetry" / "telemetry.sqlite3").touch()
    (root / "running.json").write_text("{}")
    for path in (root, *root.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    # A process of the service that runs on, with the state open for writing.
    descriptor = os.open(root / "state.json", os.O_RDWR)
    hand_over(root, SERVICE)
    found = owners(root)
    for name, (user, mode) in found.items():
        assert user == (entry.pw_uid if name.split("/")[0] == "var" else 0), name
        assert not mode & 0o022, name
    assert {"var/telemetry/telemetry.sqlite3", "var/running.json"} <= set(found)
    before = read_state(Layout(root))
    os.pwrite(descriptor, b"{}" + b" " * 1000, 0)
    os.close(descriptor)
    assert read_state(Layout(root)) == before
    assert as_user(lambda: installed_model(root)) == "done"


def plant_link(root: Path, foreign: Path) -> None:
    shutil.rmtree(root / "var" / "telemetry", ignore_errors=True)
    (root / "var" / "telemetry").symlink_to(foreign)


def plant_link_for_var(root: Path, foreign: Path) -> None:
    shutil.rmtree(root / "var")
    (root / "var").symlink_to(foreign)


def plant_link_for_a_slot(root: Path, foreign: Path) -> None:
    shutil.rmtree(root / "slots" / "a")
    (root / "slots" / "a").symlink_to(foreign)


def plant_link_for_the_state(root: Path, foreign: Path) -> None:
    (root / "state.json").unlink()
    (root / "state.json").symlink_to(foreign / "file")


def plant_second_name(root: Path, foreign: Path) -> None:
    os.link(foreign / "file", root / "var" / "innocent")


def plant_second_name_in_a_slot(root: Path, foreign: Path) -> None:
    os.link(foreign / "file", root / "slots" / "a" / "innocent")


def plant_pipe(root: Path, _foreign: Path) -> None:
    os.mkfifo(root / "var" / "pipe")


PLANTS = [
    plant_link, plant_link_for_var, plant_link_for_a_slot, plant_link_for_the_state, plant_second_name,
    plant_second_name_in_a_slot, plant_pipe,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS)
def test_what_somebody_planted_is_refused_and_the_foreign_folder_stays_as_it_was(
    plant: Callable[[Path, Path], None], root: Path, place: Path
) -> None:
    foreign = place / "foreign"
    foreign.mkdir(mode=0o700)
    (foreign / "file").write_text("secret")
    (foreign / "file").chmod(0o600)
    plant(root, foreign)
    before = (foreign.stat(), owners(foreign))
    with pytest.raises(DeployError, match="edgepose puts no such thing there"):
        hand_over(root, SERVICE)
    after = (foreign.stat(), owners(foreign))
    assert (after[0].st_uid, after[0].st_mode, after[1]) == (before[0].st_uid, before[0].st_mode, before[1])
    assert "secret" not in "".join(p.read_text() for p in root.glob("state.json") if not p.is_symlink())


def test_a_walk_that_follows_names_gives_the_foreign_folder_away(root: Path, place: Path) -> None:
    """The negative control: what a planted link does to a change of owner by path."""
    foreign = place / "foreign"
    foreign.mkdir()
    plant_link(root, foreign)
    for path in root.rglob("*"):
        os.chown(path, pwd.getpwnam(SERVICE).pw_uid, -1)
    assert foreign.stat().st_uid == pwd.getpwnam(SERVICE).pw_uid


def test_a_way_that_others_can_bend_is_refused(place: Path, root: Path) -> None:
    require_safe_way(root, set())
    entry = pwd.getpwnam(SERVICE)
    os.chown(place, entry.pw_uid, entry.pw_gid)
    with pytest.raises(DeployError, match="changed by others than root"):
        hand_over(root, SERVICE)
    os.chown(place, 0, 0)
    place.chmod(0o777)
    with pytest.raises(DeployError, match="changed by others than root"):
        hand_over(root, SERVICE)
    program = place / "program"
    program.touch()
    with pytest.raises(DeployError, match="changed by others than root"):
        installation.prepare_user(SERVICE, root, program)


def test_the_service_says_how_its_start_went_and_the_owner_decides(root: Path) -> None:
    def starts() -> int | None:
        return read_state(Layout(root)).unproven_starts

    begin_service(root, hooks=QUIET)
    assert starts() == 1
    assert as_user(lambda: require_decided(root, QUIET)) == "done"
    assert as_user(lambda: excuse_service(root)) == "done"
    assert starts() == 1
    begin_service(root, hooks=QUIET)
    # The start without a camera is taken off, this one is added.
    assert starts() == 1
    begin_service(root, hooks=QUIET)
    assert starts() == 2
    assert as_user(lambda: prove_service(root)) == "done"
    begin_service(root, hooks=QUIET)
    assert starts() is None
    assert not (root / "var" / "start.json").exists()


@pytest.mark.parametrize("note", ["link", "pipe", "rubbish", "huge", "other version", "endless", "folder"])
def test_a_note_that_is_none_excuses_nothing_and_leads_nowhere(note: str, root: Path, place: Path) -> None:
    path, secret = root / "var" / "start.json", place / "secret"
    text = '{"manifest_sha256": "%s", "outcome": "steady"}' % ("0" * 64)
    secret.write_text(text)
    plants: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(secret),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "pipe": lambda: os.mkfifo(path),
        "rubbish": lambda: path.write_text('{"outcome": "steady"'),
        "huge": lambda: path.write_bytes(b" " * (2 << 20)),
        "other version": lambda: path.write_text(text),
        "folder": path.mkdir,
    }
    plants[note]()
    for _ in range(MAX_UNPROVEN_STARTS):
        begin_service(root, hooks=QUIET)
    assert read_state(Layout(root)).unproven_starts == MAX_UNPROVEN_STARTS
    begin_service(root, hooks=QUIET)
    assert read_status(root).bundle_version == 1
    assert secret.read_text() == text


def test_the_service_does_not_run_what_nobody_decided_about(bundle_folder: Path, place: Path) -> None:
    """A card that was written elsewhere: its verification is the owner's to note."""
    root = place / "card"
    install_bundle(bundle_folder / "version1.epb", root, hooks=Hooks(check_health=always(HEALTHY)))
    make_var_for(root, SERVICE)
    assert (root / "var").stat().st_uid == pwd.getpwnam(SERVICE).pw_uid
    assert as_user(lambda: require_decided(root, QUIET)) == "DeployError"
    begin_service(root, hooks=QUIET)
    assert as_user(lambda: require_decided(root, QUIET)) == "done"


def test_root_checks_a_model_with_the_rights_of_the_service(root: Path) -> None:
    code = (
        "import os, sys; n = int(sys.argv[-1]); "
        'os.write(n, (\'{"passed": true, "failures": ["%d %d"], "verified_on": "host", '
        '"accelerator": "not_verified"}\' % (os.geteuid(), os.getegid())).encode())'
    )
    entry = pwd.getpwnam(SERVICE)
    found = report_of(["/usr/bin/env", "python3", "-c", code], 30, entry.pw_uid)
    assert found.failures == (f"{entry.pw_uid} {entry.pw_gid}",)
    # The negative control: without a user it is root.
    assert report_of(["/usr/bin/env", "python3", "-c", code], 30).failures == ("0 0",)


def test_root_follows_no_link_of_the_service_where_it_reads_or_deletes(root: Path, place: Path) -> None:
    foreign = place / "foreign"
    foreign.mkdir(mode=0o700)
    assert as_user(lambda: (root / "var" / "telemetry").symlink_to(foreign)) == "done"
    with pytest.raises(ConfigError, match=f"sudo -u {SERVICE}"):
        require_own_var(root)
    assert telemetry_root(EstimatorChoice(root=root), wanted=None) is None
    with as_service(root), pytest.raises(PermissionError):
        (TelemetryPlace(root).folder / "file").touch()
    assert os.geteuid() == 0
    (root / "var" / "running.json").symlink_to("/dev/zero")
    assert running_sandbox(root).enforced is False
    assert list(foreign.iterdir()) == []


@pytest.mark.slow
def test_the_service_runs_as_its_user_once_root_has_decided(root: Path, place: Path) -> None:
    entry = pwd.getpwnam(SERVICE)
    rights = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    program = [sys.executable, "-m", "edgepose.cli.device_main"]
    if as_user(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) != "done":
        pytest.skip("this Python lies where only root can read; the virtual machine's does not")
    pictures, poses = write_pictures(place / "pictures", 2), root / "var" / "poses.jsonl"
    begin = [*program, "service-begin", "--root", str(root), "--user", SERVICE]
    serve = [*program, "service", str(pictures), "--root", str(root), "--output", str(poses)]
    for call, more in ((begin, {}), (serve, rights)):
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120, **more)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
    assert len(poses.read_text().splitlines()) == 2
    for name in ("poses.jsonl", "running.json", "telemetry/telemetry.sqlite3"):
        assert (root / "var" / name).stat().st_uid == entry.pw_uid, name
    # The negative control: an edited slot does not run as the service either.
    for model in (root / "slots").glob("*/model.onnx"):
        model.write_bytes(model.read_bytes()[:-1] + b"?")
    refused = subprocess.run(serve, capture_output=True, text=True, check=False, timeout=120, **rights)  # type: ignore[call-overload]
    assert refused.returncode == 7, refused.stderr
