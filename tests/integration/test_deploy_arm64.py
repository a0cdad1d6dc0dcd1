"""The whole way to an arm64 device from an x86 host: a userland under qemu-user, a real sshd, real wheels.

Everything that a link or a disk can do is tested on this machine's own architecture in
``test_deploy_over_ssh.py``; here is what only another architecture can show.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import DeployError, EdgeposeError, TrustError
from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_profile import DeviceProfile, read_profile
from edgepose.records.record import to_builtins
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.archives import read_members
from tests.support.arm64_device import arm64_device
from tests.support.full_disk import small_disk
from tests.support.loopback_device import LoopbackDevice
from tests.support.machine_profiles import profile_of_this_machine
from tests.support.signed_bundles import Signer

pytestmark = [pytest.mark.chroot, pytest.mark.slow, pytest.mark.xdist_group("arm64")]


@pytest.fixture(scope="module", name="device")
def _device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackDevice]:
    with arm64_device(tmp_path_factory.mktemp("arm64") / "device") as device:
        yield device


@pytest.fixture(scope="module", name="profile_path")
def _profile_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XNNPACK does not start under emulation, and no budget of latency would mean anything."""
    changes = {"arch": '"aarch64"', "delegate": '"cpu"', "python": '["3.11"]'}
    return profile_of_this_machine(
        "raspberrypi4", tmp_path_factory.mktemp("profile"), **changes,
        latency_p95_ms="60000.0", peak_memory_mib="4000.0",
    )  # fmt: skip


@pytest.fixture(scope="module", name="profile")
def _profile(profile_path: Path) -> DeviceProfile:
    return read_profile(profile_path)


@pytest.fixture(name="keys")
def _keys(tmp_path: Path) -> Signer:
    return Signer.make(tmp_path / "keys")


def command(device: LoopbackDevice, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "edgepose", *map(str, arguments)]
    words += ["--host", "device", "--ssh-config", str(device.config)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home / "config")}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def bundle_of(profile: DeviceProfile, folder: Path, version: int) -> Path:
    model = find_builtin_models().path_of("pose", "int8")
    output = folder / f"{version}.epb"
    build_bundle(BundleRequest(model=model, profile=profile, output=output, bundle_version=version))
    return output


@pytest.fixture(name="empty")
def _empty(device: LoopbackDevice) -> LoopbackDevice:
    """The device with an empty root; runtime and code stay, for they take long to unpack."""
    shutil.rmtree(device.base / "root", ignore_errors=True)
    shutil.rmtree(device.base / "harmed", ignore_errors=True)
    return device


def install(
    device: LoopbackDevice, bundle: Path, profile: DeviceProfile, keys: Signer, **changes: object
) -> dict[str, object]:
    with connect(device.address(), device.known_hosts) as connection:
        target = replace(RemoteTarget(connection, (keys.root(1), keys.root())), **changes)  # type: ignore[arg-type]
        target.check(profile)
        return to_builtins(target.install(bundle, InstallOptions(), lambda _line: None))


def active_version(device: LoopbackDevice) -> object:
    with connect(device.address(), device.known_hosts) as connection:
        return connection.ask("status")["bundle_version"]


def test_a_profile_of_another_architecture_is_refused_before_any_change(
    empty: LoopbackDevice, tmp_path: Path
) -> None:
    device = empty
    x86 = profile_of_this_machine("raspberrypi4", tmp_path, arch='"x86_64"')
    done = command(device, tmp_path, "deploy", "--profile", x86, "--host-fingerprint", device.fingerprint)
    assert done.returncode == 8, done.stderr
    assert "it is linux on aarch64, expected linux on x86_64" in done.stderr
    assert not (device.base / "root").exists()


def test_an_accelerator_that_is_silently_not_used_fails_the_health_check(
    empty: LoopbackDevice, tmp_path: Path
) -> None:
    """Under emulation LiteRT runs without XNNPACK and does not say so; the health check does."""
    device = empty
    wanted = profile_of_this_machine(
        "raspberrypi4", tmp_path, arch='"aarch64"', python='["3.11"]', latency_p95_ms="60000.0"
    )
    done = command(device, tmp_path, "deploy", "--profile", wanted, "--host-fingerprint", device.fingerprint)
    assert done.returncode == 8, done.stderr
    assert re.search(r"the model ran on '(cpu|none)', expected xnnpack", done.stderr)
    assert "nothing is active" in done.stderr


def test_the_whole_deployment_then_a_second_one_then_back(
    empty: LoopbackDevice, profile_path: Path, tmp_path: Path
) -> None:
    device = empty
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    trust = ["--host-fingerprint", device.fingerprint]
    for record in (first, second):
        done = command(device, tmp_path, "deploy", "--profile", profile_path, "--json", record, *trust)
        assert done.returncode == 0, done.stderr
    installed = json.loads(second.read_text())["installation"]
    assert installed["health"]["verified_on"] == "device"
    assert installed["health"]["worst_oks"] > 0.95
    assert installed["bytes_sent"] < 100_000
    shown = command(device, tmp_path, "status", "--json", "-")
    assert json.loads(shown.stdout)["bundle_version"] == installed["bundle_version"]
    back = command(device, tmp_path, "rollback")
    assert back.returncode == 0, back.stderr
    assert json.loads(command(device, tmp_path, "status", "--json", "-").stdout)["files_intact"] is True


def test_signed_bundles_of_pinned_keys_only_and_no_harmed_byte(
    empty: LoopbackDevice, profile: DeviceProfile, keys: Signer, tmp_path: Path
) -> None:
    device = empty
    good = keys.sign(bundle_of(profile, tmp_path, 10), tmp_path / "signed.epb")
    assert install(device, good, profile, keys)["signed_by"]
    assert refused_kinds(device, good, keys) == set(one_byte_of_each_kind(good))
    with pytest.raises(TrustError, match=r"pinned keys|unsigned"):
        install(device, bundle_of(profile, tmp_path, 11), profile, keys, roots=())
    stranger = Signer.make(tmp_path / "stranger")
    with pytest.raises(TrustError):
        install(device, stranger.sign(bundle_of(profile, tmp_path, 12), tmp_path / "s.epb"), profile, keys)
    assert active_version(device) == 10


def refused_kinds(device: LoopbackDevice, bundle: Path, keys: Signer) -> set[str]:
    """The kinds of content in which a flipped byte makes the device refuse with the code of a trust error.

    The bundles are laid onto the device, and one connection has them tried one after the other.
    """
    content, place = bundle.read_bytes(), device.base / "harmed"
    place.mkdir()
    (place / "root.json").write_bytes(keys.root())
    for kind, position in one_byte_of_each_kind(bundle).items():
        harmed = content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
        (place / f"{kind}.epb").write_bytes(harmed)
    (place / "signed.epb").write_bytes(content)
    script = (
        "cd /home/pi/edgepose/harmed; for bundle in *.epb; do ../bin/edgepose-device verify $bundle "
        "--root-key root.json > /dev/null 2>&1; echo $? $bundle; done"
    )
    with connect(device.address(), device.known_hosts) as connection:
        said = connection.host.run(["sh", "-c", script]).stdout.decode()
    codes = {line.split()[1].removesuffix(".epb"): int(line.split()[0]) for line in said.splitlines()}
    # The negative control: the bundle that nobody harmed verifies.
    assert codes.pop("signed") == 0, said
    return {kind for kind, code in codes.items() if code == TrustError.exit_code}


def one_byte_of_each_kind(bundle: Path) -> dict[str, int]:
    """Where a byte of each kind of content lies."""
    content, found = bundle.read_bytes(), {"header": 120, "end": len(bundle.read_bytes()) - 3}
    for name, member in read_members(bundle):
        kind = re.sub(r"\d+", "", Path(name).name).lstrip(".")
        found.setdefault(kind, content.index(member) + len(member) // 2)
    return found


def test_a_revoked_key_and_an_older_version_are_refused(
    empty: LoopbackDevice, profile: DeviceProfile, keys: Signer, tmp_path: Path
) -> None:
    device = empty
    first = keys.sign(bundle_of(profile, tmp_path, 18), tmp_path / "first.epb")
    assert install(device, first, profile, keys)["bundle_version"] == 18
    before = keys.sign(bundle_of(profile, tmp_path, 21), tmp_path / "before.epb")
    keys.rotate()
    after = keys.sign(bundle_of(profile, tmp_path, 20), tmp_path / "after.epb")
    assert install(device, after, profile, keys)["bundle_version"] == 20
    with pytest.raises(EdgeposeError) as revoked:
        install(device, before, profile, keys)
    assert revoked.value.exit_code in {7, 8}
    older = keys.sign(bundle_of(profile, tmp_path, 19), tmp_path / "older.epb", days_later=1)
    with pytest.raises(DeployError, match="older"):
        install(device, older, profile, keys)
    assert active_version(device) == 20


def test_a_cut_link_and_a_full_disk_leave_the_old_version(
    empty: LoopbackDevice, profile: DeviceProfile, keys: Signer, tmp_path: Path
) -> None:
    device = empty
    assert install(device, keys.sign(bundle_of(profile, tmp_path, 20), tmp_path / "20.epb"), profile, keys)
    bundle = keys.sign(bundle_of(profile, tmp_path, 30), tmp_path / "30.epb", days_later=2)
    model = next((device.base / "blobs").iterdir())
    for blob in (device.base / "blobs").iterdir():
        blob.unlink()
    assert not model.exists()
    with pytest.raises(DeployError, match=r"was lost|could not take"):
        install(device, bundle, profile, keys, sent=lambda _done, _all: device.cut_connections())
    assert active_version(device) == 20
    with small_disk(device.base / "incoming", "64k"):
        with pytest.raises(DeployError, match="No space left"):
            install(device, bundle, profile, keys)
        assert active_version(device) == 20
    assert install(device, bundle, profile, keys)["bundle_version"] == 30


def test_wrong_keys_are_refused_and_two_hosts_at_once_leave_one_whole_version(
    empty: LoopbackDevice, profile: DeviceProfile, keys: Signer, tmp_path: Path
) -> None:
    device = empty
    wrong = replace(device.address(), fingerprint="SHA256:" + "A" * 43)
    with pytest.raises(TrustError, match="shows the host key"), connect(wrong, tmp_path / "known"):
        pass
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    config = tmp_path / "ssh_config"
    config.write_text(device.config.read_text().replace(str(device.folder / "user_key"), str(stranger)))
    refused = replace(device.address(), config=config)
    with (
        pytest.raises(DeployError, match="refuses this user's ssh key"),
        connect(refused, tmp_path / "known"),
    ):
        pass
    # Signed before they race: a later signature must have the later moment.
    bundles = [
        keys.sign(bundle_of(profile, tmp_path, version), tmp_path / f"{version}.epb", days_later=version - 37)
        for version in (40, 41)
    ]
    outcomes: list[object] = []

    def deploy(bundle: Path) -> None:
        try:
            outcomes.append(install(device, bundle, profile, keys)["bundle_version"])
        except EdgeposeError as problem:
            outcomes.append(problem)

    threads = [threading.Thread(target=deploy, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert done, outcomes
    with connect(device.address(), device.known_hosts) as connection:
        found = connection.ask("status")
    assert found["bundle_version"] in done
    assert found["files_intact"] is True
