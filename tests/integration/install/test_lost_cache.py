"""A power cut also loses what the kernel had not written yet: after each call, both ends of what may be left.

``test_power_cuts.py`` kills the process, and the kernel still writes its cache. Here the cache is lost, so a
flush that is missing, or comes after the rename that needs it, leaves a device without a whole version.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.device.install.installed import installed_model
from edgepose.device.install.installer import Hooks, install_bundle, rollback
from edgepose.device.install.layout import Layout
from edgepose.device.install.owner import hand_over
from edgepose.device.install.readiness import enroll_device
from edgepose.device.install.slot_files import verify_slot
from edgepose.device.install.state_file import make_folder, read_state
from edgepose.errors import ConfigError, EdgeposeError
from edgepose.records.files import write_whole
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, always
from tests.support.power_loss import CachedDisk, End, cached_disk
from tests.support.signed_bundles import NOW, Signer

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY), clock=lambda: NOW)
ENDS: tuple[End, ...] = ("lazy", "eager")
Seen = list[tuple[str, int | None]]


def version_in(root: Path) -> int | None:
    """The whole version of a root, every digest checked; None where nothing was ever installed."""
    try:
        return installed_model(root).manifest.bundle_version
    except ConfigError as problem:
        assert "Nothing is installed" in problem.message  # noqa: PT017
        return None


def versions_after_cuts(root: Path, scratch: Path, act: Callable[[], object]) -> dict[End, Seen]:
    """The version left by a power cut after each call of an action, and after its end."""
    seen: dict[End, Seen] = {end: [] for end in ENDS}

    def cut(disk: CachedDisk, name: str) -> None:
        for end in ENDS:
            left = disk.left(end, scratch / f"{end}{len(seen[end])}")
            seen[end].append((name, version_in(left)))

    scratch.mkdir()
    with cached_disk(root, cut):
        act()
    return seen


def assert_one_change(seen: Seen, before: int | None, after: int) -> None:
    versions = [version for _, version in seen]
    change = versions.index(after)
    assert versions == [before] * change + [after] * (len(versions) - change), seen


@pytest.fixture(name="root")
def _root(bundle_folder: Path, tmp_path: Path) -> Path:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root", hooks=QUIET)
    return tmp_path / "root"


def test_a_first_installation_is_on_the_disk_when_it_says_so(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    root.parent.mkdir()
    bundle = bundle_folder / "version1.epb"
    seen = versions_after_cuts(root, tmp_path / "cut", lambda: install_bundle(bundle, root, hooks=QUIET))
    for end in ENDS:
        assert_one_change(seen[end], None, 1)


def test_an_update_leaves_a_whole_version_whatever_the_cache_loses(
    root: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    bundle = bundle_folder / "version2.epb"
    seen = versions_after_cuts(root, tmp_path / "cut", lambda: install_bundle(bundle, root, hooks=QUIET))
    for end in ENDS:
        assert_one_change(seen[end], 1, 2)


def test_what_is_on_trial_is_whole_on_the_disk_before_the_state_names_it(
    root: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    # A trial that is cut off goes on at the next start: its slot must be there to be tried.
    tried = 0

    def cut(disk: CachedDisk, _name: str) -> None:
        nonlocal tried
        for end in ENDS:
            layout = Layout(disk.left(end, tmp_path / "cut" / f"{end}{len(disk.flushed)}-{tried}"))
            state = read_state(layout)
            if state.pending is not None and state.pending.phase == "trial":
                tried += 1
                verify_slot(layout.slot(state.pending.slot), state.pending.content.manifest_sha256, None)

    (tmp_path / "cut").mkdir()
    with cached_disk(root, lambda disk, name: cut(disk, name) if name in {"replace", "rename"} else None):
        install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    assert tried


def test_a_rollback_leaves_a_whole_version_whatever_the_cache_loses(
    root: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    seen = versions_after_cuts(root, tmp_path / "cut", lambda: rollback(root, hooks=QUIET))
    for end in ENDS:
        assert_one_change(seen[end], 2, 1)


def test_an_update_can_be_repeated_on_whatever_is_left(
    root: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    left: list[Path] = []

    def cut(disk: CachedDisk, name: str) -> None:
        if name != "fsync":
            left.extend(disk.left(end, tmp_path / "cut" / f"{end}{len(left)}") for end in ENDS)

    (tmp_path / "cut").mkdir()
    with cached_disk(root, cut):
        install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    assert len(left) > 10
    for each in left:
        assert install_bundle(bundle_folder / "version3.epb", each, hooks=QUIET).bundle_version == 3


def test_a_signed_update_and_its_signatures_are_on_the_disk(bundle_folder: Path, tmp_path: Path) -> None:
    signer, root = Signer.make(tmp_path / "keys"), tmp_path / "root"
    for version in (1, 2):
        signer.sign(bundle_folder / f"version{version}.epb", tmp_path / f"signed{version}.epb")
    enroll_device(root, signer.root())
    install_bundle(tmp_path / "signed1.epb", root, hooks=QUIET)
    seen = versions_after_cuts(
        root, tmp_path / "cut", lambda: install_bundle(tmp_path / "signed2.epb", root, hooks=QUIET)
    )
    for end in ENDS:
        assert_one_change(seen[end], 1, 2)


def test_pinned_keys_are_on_the_disk_when_the_enrolment_says_so_and_never_half(tmp_path: Path) -> None:
    signer, root = Signer.make(tmp_path / "keys"), tmp_path / "root"
    pinned: dict[End, list[bool]] = {end: [] for end in ENDS}

    def cut(disk: CachedDisk, _name: str) -> None:
        for end in ENDS:
            left = disk.left(end, tmp_path / "cut" / f"{end}{len(pinned[end])}")
            # A damaged file is an error here, never a device without keys.
            trust = read_state(Layout(left)).trust
            pinned[end].append(trust is not None and trust.root.encode() == signer.root())

    (tmp_path / "cut").mkdir()
    with cached_disk(root, cut):
        enroll_device(root, signer.root())
    for end in ENDS:
        assert pinned[end] == sorted(pinned[end])
        assert pinned[end][-1]


def test_keys_that_moved_on_are_on_the_disk_before_the_state_that_follows_from_them(
    bundle_folder: Path, tmp_path: Path
) -> None:
    # Otherwise a power cut would bring revoked keys back.
    signer, root = Signer.make(tmp_path / "keys"), tmp_path / "root"
    enroll_device(root, signer.root())
    install_bundle(signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb"), root, hooks=QUIET)
    signer.rotate()
    update = signer.sign(bundle_folder / "version2.epb", tmp_path / "2.epb")
    followed: dict[End, list[bool]] = {end: [] for end in ENDS}

    def cut(disk: CachedDisk, _name: str) -> None:
        for end in ENDS:
            left = disk.left(end, tmp_path / "cut" / f"{end}{len(followed[end])}")
            state = read_state(Layout(left))
            moved = state.trust is not None and state.trust.root.encode() == signer.root()
            assert moved or (state.pending is None and version_in(left) == 1)
            followed[end].append(moved)

    (tmp_path / "cut").mkdir()
    with cached_disk(root, cut):
        install_bundle(update, root, hooks=QUIET)
    for end in ENDS:
        assert followed[end] == sorted(followed[end])
        assert followed[end][-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")
def test_a_file_that_is_taken_over_is_whole_under_its_name(bundle_folder: Path, tmp_path: Path) -> None:
    # Not below pytest's own folder, into which no other user may look.
    place = Path(tempfile.mkdtemp(prefix="edgepose-taken-", dir="/var/tmp"))
    try:
        place.chmod(0o755)
        root = place / "root"
        install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
        os.chown(root / "state.json", 65534, 65534)
        seen = versions_after_cuts(root, tmp_path / "cut", lambda: hand_over(root, "nobody"))
        assert "rename" in {name for name, _ in seen["eager"]}
        assert {version for _, version in seen["eager"]} == {1}
    finally:
        shutil.rmtree(place)


def test_a_written_file_is_never_empty_under_its_name(tmp_path: Path) -> None:
    path, contents = tmp_path / "folder" / "record.json", []
    path.parent.mkdir()
    path.write_bytes(b"old")

    def cut(disk: CachedDisk, name: str) -> None:
        left = disk.left("eager", tmp_path / f"cut{len(contents)}")
        contents.append((name, (left / path.name).read_bytes()))

    with cached_disk(path.parent, cut):
        write_whole(path, [b"n", b"ew"])
    assert contents == [("fsync", b"old"), ("replace", b"new"), ("end", b"new")]


def test_every_new_folder_has_its_name_on_the_disk(tmp_path: Path) -> None:
    with cached_disk(tmp_path / "a", lambda _disk, _name: None) as disk:
        make_folder(tmp_path / "a" / "b" / "c")
        assert (disk.left("lazy", tmp_path / "left") / "b" / "c").is_dir()
        assert disk.flushed == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]


def test_a_flush_that_does_nothing_leaves_no_version_at_all(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Negative control: the simulated disk notices an edgepose that never flushes.
    root = tmp_path / "root"
    with cached_disk(root, lambda _disk, _name: None) as disk:
        # Taken back inside: later it would bring the watched fsync back.
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", lambda _descriptor: None)
            install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
        assert version_in(disk.left("lazy", tmp_path / "lazy")) is None
        with pytest.raises(EdgeposeError):
            version_in(disk.left("eager", tmp_path / "eager"))
