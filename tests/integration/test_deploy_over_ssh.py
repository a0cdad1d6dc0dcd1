"""``deploy --host`` against a real sshd here: what is sent, what is refused, what is left behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import edgepose
from edgepose.errors import DeployError, EdgeposeError, TrustError
from edgepose.host.bundle import device_lock
from edgepose.host.bundle.device_lock import find_lock
from edgepose.host.bundle.sbom import with_bill
from edgepose.host.deploy.ssh import remote_target
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.host.deploy.ssh.shipment import default_runtime_cache, device_code
from edgepose.records.device_profile import DeviceProfile, find_profile
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.full_disk import small_disk
from tests.support.loopback_device import LoopbackDevice, copied_device, loopback_device
from tests.support.signed_bundles import Signer
from tests.support.ssh_fixtures import install_over_ssh as install
from tests.support.ssh_fixtures import ssh_bundles, ssh_profile, ssh_profile_path
from tests.support.tiny_wheels import use_index, write_wheel

__all__ = ["ssh_bundles", "ssh_profile", "ssh_profile_path"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ssh")]

WHEELS_MIB = 20


@pytest.fixture(name="profile_path")
def _profile_path(ssh_profile_path: Path) -> Path:
    return ssh_profile_path


@pytest.fixture(scope="module", name="profile")
def _profile(ssh_profile: DeviceProfile) -> DeviceProfile:
    return ssh_profile


@pytest.fixture(scope="module", name="bundles")
def _bundles(ssh_bundles: Path) -> Path:
    return ssh_bundles


@pytest.fixture(name="device")
def _device(tmp_path: Path) -> Iterator[LoopbackDevice]:
    with loopback_device(tmp_path / "loopback") as device:
        yield device


@pytest.fixture(scope="module", name="prepared")
def _prepared(
    tmp_path_factory: pytest.TempPathFactory, bundles: Path, profile: DeviceProfile
) -> Iterator[Path]:
    """The folder of a device that has version 1, to be copied by hard links."""
    folder = tmp_path_factory.mktemp("prepared")
    with loopback_device(folder / "loopback") as device:
        install(device, bundles / "1.epb", profile)
        yield device.base


@pytest.fixture(name="used")
def _used(tmp_path: Path, prepared: Path) -> Iterator[LoopbackDevice]:
    """A device that has version 1."""
    with copied_device(tmp_path / "loopback", prepared) as device:
        yield device


def status(device: LoopbackDevice) -> dict[str, object]:
    with connect(device.address(), device.known_hosts) as connection:
        return connection.ask("status")


def leftovers(device: LoopbackDevice) -> list[str]:
    return [path.name for path in device.base.rglob("*.part")] if device.base.exists() else []


def code_with(name: str, text: str) -> bytes:
    """The device side with one file put in or replaced."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(device_code())) as code,
        zipfile.ZipFile(buffer, "w") as changed,
    ):
        for entry in code.namelist():
            if entry != name:
                changed.writestr(entry, code.read(entry))
        changed.writestr(name, text)
    return buffer.getvalue()


def test_the_first_deployment_brings_everything_and_the_second_only_what_changed(
    used: LoopbackDevice, bundles: Path, profile: DeviceProfile, prepared: Path
) -> None:
    runtime = sum(path.stat().st_size for path in (prepared / "runtimes").rglob("*") if path.is_file())
    assert runtime > WHEELS_MIB << 20
    second = install(used, bundles / "2.epb", profile)
    assert second["bundle_version"] == 2
    assert isinstance(second["bytes_sent"], int)
    # The model is the same: what travels is the manifest and what names the version.
    assert second["bytes_sent"] < 100_000
    assert status(used)["previous_version"] == 1
    assert leftovers(used) == []
    assert list((used.base / "incoming").iterdir()) == []
    # Files of this version, and young ones of the one before; no wheels.
    kept = sum(path.stat().st_size for path in (used.base / "blobs").iterdir())
    assert kept < 2 * (bundles / "2.epb").stat().st_size


def test_the_command_line_deploys_shows_and_rolls_back(
    used: LoopbackDevice, profile_path: Path, tmp_path: Path
) -> None:
    place = ["--host", "device", "--ssh-config", used.config]

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "edgepose", *map(str, (*arguments, *place))]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    unknown = call("status")
    assert unknown.returncode == 7, unknown.stderr
    assert "not known to ssh" in unknown.stderr
    planned = call("deploy", "--profile", profile_path, "--dry-run", "--host-fingerprint", used.fingerprint)
    assert planned.returncode == 0, planned.stderr
    assert "install on device, version 2" in planned.stdout
    record = tmp_path / "report.json"
    done = call("deploy", "--profile", profile_path, "--json", record)
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text())["installation"]["health"]["verified_on"] == "device"
    assert "version 2" in call("status").stdout
    logs = call("logs", "--lines", 5)
    assert logs.returncode == 0, logs.stderr
    assert logs.stdout.count("installed") == 2
    back = call("rollback")
    assert back.returncode == 0, back.stderr
    assert "version 1 is active again" in back.stdout


def test_what_is_installed_is_benchmarked_on_the_device(used: LoopbackDevice, tmp_path: Path) -> None:
    models = find_builtin_models()
    place = ["--host", "device", "--ssh-config", used.config, "--host-fingerprint", used.fingerprint]

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "edgepose", "benchmark", *map(str, (*arguments, *place))]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    record = tmp_path / "speed.json"
    done = call(models.path_of("pose", "int8"), "--samples", 20, "--json", record)
    assert done.returncode == 0, done.stderr
    report = json.loads(record.read_text())
    assert report["samples"] == 20
    assert report["complete"] is False
    assert report["device"]["profile"] == "this-machine"
    assert report["device"]["is_profile_device"] is True
    other = call(models.path_of("pose", "float32"), "--samples", 20)
    assert other.returncode == 8
    assert "Deploy it first" in other.stderr


def test_the_bill_on_the_device_lists_what_can_be_imported_there(used: LoopbackDevice) -> None:
    bill = Path(str(status(used)["runtime_sbom"]))
    # The base was copied from where it was deployed to.
    bill = used.base / "code" / bill.parent.name / bill.name
    parts = json.loads(bill.read_text())["components"]
    own = next(part for part in parts if part["name"] == "edgepose")
    assert own["version"] == edgepose.__version__
    (runtime,) = (used.base / "runtimes").iterdir()
    assert unlisted(runtime, parts) == set()
    # A wheel that nobody listed, and one that is listed and not there.
    write_wheel(used.folder, "stowaway", "1.0")
    with zipfile.ZipFile(used.folder / "stowaway-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(runtime)
    (about,) = runtime.glob("tqdm-*.dist-info")
    shutil.rmtree(about)
    version = next(part["version"] for part in parts if part["name"] == "tqdm")
    assert unlisted(runtime, parts) == {("stowaway", "1.0"), ("tqdm", version)}


def unlisted(runtime: Path, parts: list[dict[str, str]]) -> set[tuple[str, str]]:
    """Distributions that are only in the folder or only in the bill."""
    there = {
        (canonicalize_name(found.metadata["Name"]), found.version)
        for found in metadata.distributions(path=[str(runtime)])
    }
    return there ^ {(part["name"], part["version"]) for part in parts if part["type"] == "library"}


def test_a_device_for_which_nothing_is_locked_is_refused_before_any_change(
    device: LoopbackDevice,
    bundles: Path,
    profile: DeviceProfile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_lock, "packaged_folder", lambda _name: tmp_path / "none")
    with pytest.raises(DeployError, match="No wheels are locked for") as caught:
        install(device, bundles / "1.epb", profile)
    assert caught.value.exit_code == 8
    assert not device.base.exists()


def test_a_swapped_wheel_never_reaches_the_device(
    device: LoopbackDevice,
    bundles: Path,
    profile: DeviceProfile,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = remote_target.find_lock(profile, profile.hardware.python[0])
    first, *others = real.wheels
    changed = (replace(first, sha256="0" * 64), *others)
    monkeypatch.setattr(remote_target, "find_lock", lambda *_: replace(real, wheels=changed))
    index = tmp_path / "index"
    index.mkdir()
    # Where the prepared device's wheels were fetched to.
    kept = default_runtime_cache() / real.digest
    for wheel in kept.iterdir():
        os.link(wheel, index / wheel.name)
    use_index(index, monkeypatch)
    with pytest.raises(TrustError, match=f"gave {first.name}"):
        install(device, bundles / "1.epb", profile, cache=tmp_path / "cache")
    assert not device.base.exists()


def test_a_wrong_fingerprint_and_a_changed_host_key_are_refused(used: LoopbackDevice, tmp_path: Path) -> None:
    wrong = "SHA256:" + "A" * 43
    with (
        pytest.raises(TrustError, match="shows the host key"),
        connect(used.address(wrong), used.known_hosts),
    ):
        pass
    assert not used.known_hosts.exists()
    with connect(used.address(), used.known_hosts):
        pass
    other = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    place, _, _ = used.known_hosts.read_text().partition(" ")
    key = " ".join(other.with_suffix(".pub").read_text().split()[:2])
    used.known_hosts.write_text(f"{place} {key}\n")
    known = replace(used.address(), fingerprint=None)
    with pytest.raises(TrustError, match="another host key"), connect(known, used.known_hosts):
        pass


def test_a_refused_user_key_and_an_unreachable_device_are_told_apart(used: LoopbackDevice) -> None:
    (used.folder / "authorized_keys").write_text("")
    with (
        pytest.raises(DeployError, match="refuses this user's ssh key"),
        connect(used.address(), used.known_hosts),
    ):
        pass
    used.process.terminate()
    used.process.wait()
    with pytest.raises(DeployError, match="cannot be reached"), connect(used.address(), used.known_hosts):
        pass


@pytest.mark.parametrize("name", ["raspberrypi5", "jetson-orin-nano"])
def test_another_kind_of_device_is_refused_before_any_change(device: LoopbackDevice, name: str) -> None:
    with (
        connect(device.address(), device.known_hosts) as connection,
        pytest.raises(DeployError, match="does not fit profile"),
    ):
        RemoteTarget(connection).check(find_profile(name))
    assert not device.base.exists()


def test_another_profile_is_refused_by_the_root_on_the_device(
    used: LoopbackDevice, profile: DeviceProfile
) -> None:
    import msgspec

    other = msgspec.structs.replace(profile, id="other")
    with (
        connect(used.address(), used.known_hosts) as connection,
        pytest.raises(EdgeposeError, match="is a device of profile 'this-machine'") as caught,
    ):
        RemoteTarget(connection).check(other)
    assert caught.value.exit_code == 3


def test_a_version_that_fails_its_health_check_leaves_the_one_before(
    used: LoopbackDevice, bundles: Path, profile: DeviceProfile
) -> None:
    with pytest.raises(DeployError, match="failed its health check and was taken back"):
        install(used, bundles / "9.epb", profile)
    assert status(used)["bundle_version"] == 1


def test_a_new_runtime_that_fails_leaves_the_launcher_before(
    used: LoopbackDevice, bundles: Path, profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = used.base / "bin" / "edgepose-device"
    install(used, bundles / "2.epb", profile)
    before = launcher.read_text()
    broken = code_with("edgepose/cli/device_main.py", "raise SystemExit('a broken release')\n")
    monkeypatch.setattr(remote_target, "device_code", lambda: broken)
    with pytest.raises(DeployError, match="a broken release"):
        install(used, bundles / "3.epb", profile)
    assert launcher.read_text() == before
    assert status(used)["bundle_version"] == 2


def test_new_code_takes_the_launchers_place_when_what_it_installed_is_active(
    used: LoopbackDevice, bundles: Path, profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = used.base / "bin" / "edgepose-device"
    before = launcher.read_text()
    new = code_with("edgepose/added.py", "")
    monkeypatch.setattr(remote_target, "device_code", lambda: new)
    install(used, bundles / "2.epb", profile)
    sent = with_bill(new, find_lock(profile, profile.hardware.python[0]))
    assert hashlib.sha256(sent).hexdigest() in launcher.read_text()
    assert launcher.read_text() != before
    assert os.access(launcher, os.X_OK)
    assert status(used)["bundle_version"] == 2


def test_an_older_version_is_refused(used: LoopbackDevice, bundles: Path, profile: DeviceProfile) -> None:
    install(used, bundles / "3.epb", profile)
    with pytest.raises(DeployError, match="older"):
        install(used, bundles / "2.epb", profile)
    assert status(used)["bundle_version"] == 3


def test_keys_are_pinned_over_ssh_and_others_refused(
    device: LoopbackDevice, prepared: Path, bundles: Path, profile: DeviceProfile, tmp_path: Path
) -> None:
    shutil.copytree(prepared / "runtimes", device.base / "runtimes", copy_function=os.link)
    signer, stranger = Signer.make(tmp_path / "keys"), Signer.make(tmp_path / "stranger")
    signed = signer.sign(bundles / "1.epb", tmp_path / "signed.epb")
    report = install(device, signed, profile, roots=(signer.root(),))
    assert report["signed_by"]
    with pytest.raises(TrustError, match="pinned keys"):
        install(device, bundles / "2.epb", profile)
    forged = stranger.sign(bundles / "2.epb", tmp_path / "forged.epb")
    with pytest.raises(TrustError):
        install(device, forged, profile, roots=(signer.root(),))
    assert status(device)["bundle_version"] == 1


def test_a_connection_cut_in_mid_transfer_changes_nothing_and_the_next_call_goes_on(
    device: LoopbackDevice, bundles: Path, profile: DeviceProfile
) -> None:
    cut: list[int] = []

    def cut_once(done: int, _all: int) -> None:
        if not cut and done > 8 << 20:
            cut.append(device.cut_connections())

    with pytest.raises(DeployError, match=r"was lost|could not take the files"):
        install(device, bundles / "1.epb", profile, sent=cut_once)
    assert cut[0] > 0
    assert not (device.base / "root").exists()
    report = install(device, bundles / "1.epb", profile)
    assert report["bundle_version"] == 1
    assert leftovers(device) == []


def test_a_device_that_fills_up_is_told_and_the_next_call_goes_on(
    device: LoopbackDevice, bundles: Path, profile: DeviceProfile
) -> None:
    device.base.mkdir(parents=True)
    with small_disk(device.base, "24m"):
        with pytest.raises(DeployError, match=r"it has \d+ MiB free, expected 500"):
            install(device, bundles / "1.epb", profile)
        # A device that was used before needs less, so it is asked only when it is full.
        (device.base / "runtimes" / "before").mkdir(parents=True)
        with pytest.raises(DeployError, match="No space left") as caught:
            install(device, bundles / "1.epb", profile)
        assert caught.value.hint == "Free some space there."
        assert not (device.base / "root").exists()
        subprocess.run(["mount", "-o", "remount,size=600m", device.base], check=True)
        assert install(device, bundles / "1.epb", profile)["bundle_version"] == 1
        assert leftovers(device) == []


def test_two_deployments_at_once_leave_one_whole_version(
    used: LoopbackDevice, bundles: Path, profile: DeviceProfile
) -> None:
    outcomes: list[object] = []

    def deploy(version: int) -> None:
        try:
            outcomes.append(install(used, bundles / f"{version}.epb", profile)["bundle_version"])
        except EdgeposeError as problem:
            outcomes.append(problem)

    threads = [threading.Thread(target=deploy, args=(version,)) for version in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert done, outcomes
    # Each installs what it brought, never what the other did.
    assert len(set(done)) == len(done)
    found = status(used)
    assert found["bundle_version"] in done
    assert found["files_intact"] is True
