"""Wheels come from a package index as they are locked, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.errors import DeployError, TrustError
from edgepose.host.bundle.device_lock import DeviceLock, LockedWheel
from edgepose.host.deploy.ssh import shipment as runtime_wheels
from edgepose.host.deploy.ssh.shipment import WheelTarget, fetch_wheels
from edgepose.trust.digests import sha256_of_file
from tests.support.tiny_wheels import use_index, write_wheel

TARGET = WheelTarget("aarch64", "2.36", "3.11")


@pytest.fixture(name="index")
def _index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with an older and a newer release."""
    folder = tmp_path / "index"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        write_wheel(folder, "demo", version)
    use_index(folder, monkeypatch)
    return folder


@pytest.fixture(name="lock")
def _lock(index: Path) -> DeviceLock:
    """Of the older one."""
    (path,) = index.glob("demo-1.0-*")
    wheel = LockedWheel("demo", "1.0", path.name, sha256_of_file(path), "MIT")
    return DeviceLock("aarch64-3.11", "aarch64", "3.11", (wheel,))


def fetched(lock: DeviceLock, cache: Path) -> list[str]:
    folder = fetch_wheels(lock, TARGET, cache, lambda _line: None)
    return sorted(path.name for path in folder.iterdir())


def test_the_locked_release_is_taken_where_pip_alone_takes_the_newest(
    index: Path, lock: DeviceLock, tmp_path: Path
) -> None:
    call = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(tmp_path / "free"), "demo"]
    subprocess.run(call, check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "free").iterdir()] == ["demo-2.0-py3-none-any.whl"]
    assert fetched(lock, tmp_path / "cache") == ["demo-1.0-py3-none-any.whl"]


def test_a_file_that_was_swapped_on_the_index_is_refused_and_none_is_kept(
    index: Path, lock: DeviceLock, tmp_path: Path
) -> None:
    write_wheel(index, "demo", "1.0", body="print('another file')\n")
    with pytest.raises(TrustError, match=r"gave demo==1.0 with sha256 \w{64}, expected \w{64}") as caught:
        fetched(lock, tmp_path / "cache")
    assert caught.value.exit_code == 7
    assert lock.wheels[0].sha256 in caught.value.message
    assert list((tmp_path / "cache").rglob("*")) == []


def test_a_wrong_file_is_found_whatever_pip_says(
    lock: DeviceLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(_requirements: object, _target: object, folder: Path) -> None:
        write_wheel(folder, "demo", "1.0", body="print('another file')\n")

    monkeypatch.setattr(runtime_wheels, "_download", lenient)
    with pytest.raises(TrustError, match="not the wheel that is locked"):
        fetched(lock, tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*")) == []


def test_a_locked_wheel_that_the_index_has_no_more_is_not_replaced_by_another(
    index: Path, lock: DeviceLock, tmp_path: Path
) -> None:
    (index / "demo-1.0-py3-none-any.whl").unlink()
    with pytest.raises(DeployError, match="could not be had"):
        fetched(lock, tmp_path / "cache")


def test_what_is_here_with_its_digest_needs_no_index_and_a_damaged_file_is_fetched_again(
    index: Path, lock: DeviceLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(lock, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").rglob("*.whl")
    with monkeypatch.context() as offline:
        use_index(tmp_path / "nowhere", offline)
        assert fetched(lock, tmp_path / "cache") == [kept.name]
    kept.write_bytes(kept.read_bytes()[:-1])
    assert fetched(lock, tmp_path / "cache") == [kept.name]
    assert sha256_of_file(kept) == lock.wheels[0].sha256
