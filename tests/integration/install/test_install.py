"""Installing real bundles with the real health check, and everything that may be in the way."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepose.device.install.installed import installed_model, read_status
from edgepose.device.install.installer import Hooks, install_bundle, next_bundle_version, rollback
from edgepose.device.install.layout import Layout
from edgepose.device.install.state_file import read_state
from edgepose.errors import ConfigError, DeployError, TrustError
from tests.support import full_disk
from tests.support.archives import manifest_of, read_members, with_manifest, write_members
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, SICK, always
from tests.support.waiting import PATIENCE_S

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY))


def active_version(root: Path) -> int:
    return installed_model(root).manifest.bundle_version


def test_a_bundle_is_installed_checked_in_a_fresh_process_and_reported_as_a_preview(
    bundle_folder: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    report = install_bundle(bundle_folder / "version1.epb", tmp_path / "root", report=lines.append)
    assert (report.bundle_version, report.slot, report.previous_version) == (1, "a", None)
    assert (report.health.verified_on, report.health.accelerator) == ("host", "not_verified")
    assert report.health.frames == 4
    assert report.health.worst_oks is not None
    assert report.health.worst_oks > 0.99
    assert len(lines) == 2
    status = read_status(tmp_path / "root")
    assert status.verified_on == "host"
    assert status.backend is not None
    assert status.backend.runtime == "onnxruntime"
    assert status.files_intact is True


def test_a_model_with_mixed_up_weights_is_taken_back_by_itself(bundle_folder: Path, tmp_path: Path) -> None:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
    with pytest.raises(DeployError, match=r"OKS .* version 1|version 1 stays active.*OKS") as caught:
        install_bundle(bundle_folder / "broken4.epb", tmp_path / "root")
    assert "golden/0.png" in caught.value.message
    assert active_version(tmp_path / "root") == 1
    assert not (tmp_path / "root" / "slots" / "b").exists()
    last = read_status(tmp_path / "root").history[-1]
    assert (last.event, last.bundle_version, last.active_version) == ("health_failed", 4, 1)


def test_a_first_installation_that_is_not_healthy_leaves_nothing_active(
    bundle_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DeployError, match="nothing is active"):
        install_bundle(bundle_folder / "broken4.epb", tmp_path / "root")
    assert read_status(tmp_path / "root").active_slot is None
    assert list((tmp_path / "root" / "slots").iterdir()) == []


def test_rollback_returns_to_the_version_before_and_back_again(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", root, hooks=QUIET)
    assert rollback(root).bundle_version == 1
    assert active_version(root) == 1
    assert rollback(root, hooks=QUIET).bundle_version == 2
    assert [event.event for event in read_status(root).history][-2:] == ["rolled_back", "rolled_back"]


def test_rollback_without_a_version_before_says_so(bundle_folder: Path, tmp_path: Path) -> None:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
    with pytest.raises(DeployError, match="no earlier version"):
        rollback(tmp_path / "root", hooks=QUIET)
    with pytest.raises(ConfigError, match="Nothing is installed"):
        rollback(tmp_path / "elsewhere", hooks=QUIET)


def test_rollback_to_damaged_files_is_refused_and_changes_nothing(
    bundle_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", root, hooks=QUIET)
    (root / "slots" / "a" / "model.onnx").write_bytes(b"")
    with pytest.raises(TrustError, match=r"model\.onnx"):
        rollback(root, hooks=QUIET)
    assert active_version(root) == 2


def test_rollback_to_an_unhealthy_version_keeps_both(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", root, hooks=QUIET)
    with pytest.raises(DeployError, match="version 2 stays active"):
        rollback(root, hooks=Hooks(check_health=always(SICK)))
    assert read_status(root).previous_version == 1


def test_a_downgrade_is_refused_unless_allowed(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    with pytest.raises(DeployError, match="older than the installed 2"):
        install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    assert active_version(root) == 2
    install_bundle(bundle_folder / "version1.epb", root, allow_downgrade=True, hooks=QUIET)
    assert active_version(root) == 1
    assert next_bundle_version(root) == 3


def test_the_same_version_may_be_installed_again(bundle_folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
    assert active_version(tmp_path / "root") == 1


def test_a_bundle_for_another_profile_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
    members = read_members(bundle_folder / "version2.epb")
    manifest = manifest_of(members)
    manifest["profile"]["id"] = "other-board"
    other = write_members(tmp_path / "other.epb", with_manifest(members, json.dumps(manifest).encode()))
    with pytest.raises(ConfigError, match="other-board"):
        install_bundle(other, tmp_path / "root", hooks=QUIET)
    assert active_version(tmp_path / "root") == 1


def test_a_folder_with_something_else_in_it_is_refused_and_untouched(
    bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        install_bundle(bundle_folder / "version1.epb", tmp_path, hooks=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_bundle_changes_nothing(bundle_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.epb"
    damaged.write_bytes((bundle_folder / "version1.epb").read_bytes()[:-1])
    with pytest.raises(TrustError):
        install_bundle(damaged, tmp_path / "root", hooks=QUIET)
    assert not (tmp_path / "root").exists()


def test_a_bundle_exchanged_between_check_and_unpacking_is_refused(
    bundle_folder: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.epb"
    bundle.write_bytes((bundle_folder / "version1.epb").read_bytes())
    other = (bundle_folder / "version2.epb").read_bytes()

    def exchange(moment: str) -> None:
        if moment == "slot_cleared":
            bundle.write_bytes(other)

    with pytest.raises(TrustError, match="changed while"):
        install_bundle(bundle, tmp_path / "root", hooks=Hooks(exchange, always(HEALTHY)))
    assert read_status(tmp_path / "root").active_slot is None


def test_a_file_that_the_disk_spoils_while_staging_is_found(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)

    def spoil(moment: str) -> None:
        if moment == "staged":
            picture = root / "slots" / "b.staging" / "golden" / "0.png"
            picture.write_bytes(picture.read_bytes()[::-1])

    with pytest.raises(TrustError, match=r"golden/0\.png"):
        install_bundle(bundle_folder / "version2.epb", root, hooks=Hooks(spoil, always(HEALTHY)))
    assert active_version(root) == 1
    assert sorted(path.name for path in (root / "slots").iterdir()) == ["a"]


@pytest.mark.parametrize("change", ["model", "manifest", "extra", "missing", "link"])
def test_installed_files_that_were_changed_are_never_opened(
    bundle_folder: Path, tmp_path: Path, change: str
) -> None:
    root = tmp_path / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    slot = root / "slots" / "a"
    if change == "model":
        (slot / "model.onnx").write_bytes((slot / "model.onnx").read_bytes() + b"\0")
    elif change == "manifest":
        (slot / "manifest.json").write_text("{}")
    elif change == "extra":
        (slot / "extra").write_text("")
    elif change == "missing":
        (slot / "golden" / "0.png").unlink()
    else:
        (slot / "model.onnx").rename(tmp_path / "model.onnx")
        (slot / "model.onnx").symlink_to(tmp_path / "model.onnx")
    with pytest.raises(TrustError):
        installed_model(root)
    assert read_status(root).files_intact is False


def test_a_damaged_state_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    (root / "state.json").write_text('{"active": "b"}')
    with pytest.raises(TrustError, match=r"state\.json"):
        installed_model(root)


def test_a_second_installation_at_the_same_time_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    root, reached, go_on = tmp_path / "root", threading.Event(), threading.Event()

    def wait(moment: str) -> None:
        if moment == "staged":
            reached.set()
            assert go_on.wait(PATIENCE_S)

    first = threading.Thread(
        target=install_bundle,
        args=(bundle_folder / "version1.epb", root),
        kwargs={"hooks": Hooks(wait, always(HEALTHY))},
    )
    first.start()
    assert reached.wait(PATIENCE_S)
    try:
        with pytest.raises(DeployError, match="Another installation"):
            install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    finally:
        go_on.set()
        first.join()
    assert active_version(root) == 1
    install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MiB: three times a bundle."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with full_disk.small_disk(disk, "1536k"):
        yield disk


def fill(folder: Path, leave_bytes: int) -> None:
    """Writes a file until about this much is free."""
    size = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(max(0, size.f_bavail * size.f_frsize - leave_bytes)))


def test_a_disk_without_space_is_found_before_anything_changes(bundle_folder: Path, small_disk: Path) -> None:
    root = small_disk / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    before = (root / "state.json").read_bytes()
    fill(small_disk, leave_bytes=100_000)
    with pytest.raises(DeployError, match="KiB free, and the bundle needs"):
        install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    assert (root / "state.json").read_bytes() == before
    assert active_version(root) == 1


def test_a_disk_that_fills_up_on_the_way_leaves_the_old_version_and_no_half_files(
    bundle_folder: Path, small_disk: Path
) -> None:
    root = small_disk / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)

    def fill_up(moment: str) -> None:
        if moment == "slot_cleared":
            fill(small_disk, leave_bytes=100_000)

    with pytest.raises(DeployError, match="No space left"):
        install_bundle(bundle_folder / "version2.epb", root, hooks=Hooks(fill_up, always(HEALTHY)))
    assert active_version(root) == 1
    assert sorted(path.name for path in (root / "slots").iterdir()) == ["a"]
    assert read_state(Layout(root)).pending is None
    (small_disk / "filler").unlink()
    install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    assert active_version(root) == 2


def test_a_read_only_target_is_refused_and_stays_readable(bundle_folder: Path, small_disk: Path) -> None:
    root = small_disk / "root"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DeployError, match="Read-only"):
        install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    with pytest.raises(DeployError, match="Read-only"):
        install_bundle(bundle_folder / "version2.epb", small_disk / "new", hooks=QUIET)
    assert active_version(root) == 1


def test_a_root_that_is_a_file_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(DeployError, match="Not a directory"):
        install_bundle(bundle_folder / "version1.epb", tmp_path / "file", hooks=QUIET)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_without_write_permission_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the read-only disk covers it")
    tmp_path.chmod(0o555)
    with pytest.raises(DeployError, match="Permission"):
        install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
