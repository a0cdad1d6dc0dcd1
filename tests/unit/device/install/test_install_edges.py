"""The installation's small rules at their edges: states to the last field, paths, whose a file is, space."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgepose.device.install import installer, readiness, state_file, transitions
from edgepose.device.install.health_process import _version
from edgepose.device.install.installer import Hooks, install_bundle
from edgepose.device.install.layout import (
    Layout,
    default_preview_root,
    engine_cache_beside,
    is_own_var,
    make_var,
    read_of_service,
    read_record_of_service,
    require_own_var,
    service_may_write,
)
from edgepose.device.install.service_start import StartNote
from edgepose.device.install.slot_files import needed_bytes
from edgepose.device.install.transitions import DeviceState, PendingChange, SlotContent
from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.records.device_status import HistoryEvent
from edgepose.records.record import to_json
from edgepose.trust.bundle_reader import read_bundle
from edgepose.trust.signed_bundle import TrustAnchor
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, always
from tests.support.signed_bundles import NOW, Signer

__all__ = ["bundle_folder"]

AT = "2026-01-01T00:00:00+00:00"
QUIET = Hooks(check_health=always(HEALTHY), clock=lambda: NOW)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")


def content(version: int, profile: str = "board", signed_by: str | None = None) -> SlotContent:
    digest = f"{version:064x}"
    return SlotContent(
        bundle_version=version,
        bundle_sha256=digest,
        manifest_sha256=digest,
        model_sha256=digest,
        profile_id=profile,
        signed_by=signed_by,
    )


ONE = DeviceState(active="a", contents={"a": content(1)}, health=HEALTHY, highest_version=1)
TWO = replace(
    ONE, active="b", contents={"a": content(1), "b": content(2)}, highest_version=2, unproven_starts=0
)


def test_an_installation_through_all_its_states() -> None:
    begun = transitions.begin_install(ONE, content(2), note="said")
    pending = PendingChange(kind="install", phase="staging", slot="b", content=content(2), note="said")
    assert begun == replace(ONE, pending=pending)
    tried = transitions.begin_trial(begun)
    assert tried.pending == replace(pending, phase="trial", attempts=0)
    counted = transitions.count_attempt(tried)
    assert counted.pending == replace(pending, phase="trial", attempts=1)
    event = HistoryEvent(
        at=AT, event="installed", bundle_version=2, active_version=2, detail="verified on host; said"
    )
    assert transitions.commit(counted, HEALTHY, AT) == replace(TWO, history=(event,))


def test_the_very_first_version_needs_no_proof() -> None:
    state = transitions.begin_trial(transitions.begin_install(DeviceState(), content(1)))
    assert state.pending is not None
    assert state.pending.slot == "a"
    assert transitions.commit(state, HEALTHY, AT).unproven_starts is None


def test_a_third_version_takes_the_slot_of_the_one_before_the_last() -> None:
    begun = transitions.begin_install(TWO, content(3))
    assert begun.contents == {"b": content(2)}
    assert begun.pending is not None
    assert begun.pending.slot == "a"
    assert begun.previous_content is None


def test_a_rollback_through_all_its_states() -> None:
    begun = transitions.begin_rollback(TWO, "said")
    pending = PendingChange(kind="rollback", phase="trial", slot="a", content=content(1), note="said")
    assert begun == replace(TWO, pending=pending)
    back = transitions.commit(begun, HEALTHY, AT)
    assert (back.active, back.highest_version, back.unproven_starts) == ("a", 2, None)
    assert back.history[-1].event == "rolled_back"
    assert back.contents == TWO.contents
    with pytest.raises(DeployError, match="no earlier version"):
        transitions.begin_rollback(ONE)


@pytest.mark.parametrize(
    ("begin", "interrupted", "event"),
    [
        (lambda state: transitions.begin_install(state, content(3)), True, "interrupted"),
        (lambda state: transitions.begin_install(state, content(3)), False, "health_failed"),
        (transitions.begin_rollback, False, "rollback_failed"),
        (transitions.begin_rollback, True, "interrupted"),
    ],
)
def test_what_is_given_up_is_told_and_what_runs_stays(begin: object, interrupted: bool, event: str) -> None:
    begun = begin(TWO)  # type: ignore[operator]
    left = transitions.abandon(begun, "why", AT, interrupted=interrupted)
    told = left.history[-1]
    assert (told.event, told.at, told.detail, told.active_version) == (event, AT, "why", 2)
    assert told.bundle_version == begun.pending.content.bundle_version
    assert (left.active, left.pending, left.contents) == ("b", None, begun.contents)


def test_an_abandoned_first_version_leaves_nothing_active() -> None:
    begun = transitions.begin_install(DeviceState(), content(1))
    told = transitions.abandon(begun, "why", AT, interrupted=True).history[-1]
    assert (told.bundle_version, told.active_version) == (1, None)


def test_slots_that_no_state_names_are_left_over() -> None:
    assert transitions.slots_to_clear(DeviceState()) == ("a", "b")
    assert transitions.slots_to_clear(ONE) == ("b",)
    assert transitions.slots_to_clear(TWO) == ()
    staged = transitions.begin_install(ONE, content(2))
    assert transitions.slots_to_clear(staged) == ("b",)
    assert transitions.slots_to_clear(transitions.begin_trial(staged)) == ()


@pytest.mark.parametrize(
    ("attempts", "phase", "again"),
    [(0, "trial", True), (1, "trial", True), (2, "trial", False), (0, "staging", False)],
)
def test_a_trial_has_two_attempts(attempts: int, phase: str, again: bool) -> None:
    begun = transitions.begin_install(ONE, content(2))
    assert begun.pending is not None
    pending = replace(begun.pending, attempts=attempts, phase=phase)
    assert transitions.may_try_again(replace(begun, pending=pending)) == again
    assert not transitions.may_try_again(ONE)


def test_starts_are_counted_excused_and_proven() -> None:
    assert transitions.count_start(TWO).unproven_starts == 1
    assert transitions.excused(transitions.count_start(TWO)).unproven_starts == 0
    assert transitions.excused(TWO).unproven_starts == 0
    assert transitions.proven(transitions.count_start(TWO)).unproven_starts is None
    for step in (transitions.count_start, transitions.excused):
        assert step(ONE) == ONE


@pytest.mark.parametrize(("starts", "fallen"), [(None, False), (2, False), (3, True), (4, True)])
def test_three_starts_without_a_steady_run_are_enough(starts: int | None, fallen: bool) -> None:
    assert transitions.does_not_stay_up(replace(TWO, unproven_starts=starts)) == fallen
    # There is nothing to return to.
    assert not transitions.does_not_stay_up(replace(ONE, unproven_starts=starts))


def test_a_version_verified_on_the_device_is_told() -> None:
    here = replace(HEALTHY, verified_on="device")
    state = transitions.verified_here(TWO, here, AT)
    assert state.health == here
    told = state.history[-1]
    assert (told.event, told.bundle_version, told.active_version) == ("verified", 2, 2)
    with pytest.raises(ValueError, match="nothing is active"):
        transitions.verified_here(DeviceState(), here, AT)


@pytest.mark.parametrize(
    ("version", "older", "pins", "note"),
    [
        (3, False, False, ""),
        (2, False, False, ""),
        (1, False, False, "downgrade from version 2 was allowed"),
        (1, True, False, "downgrade from version 2 was allowed"),
        (2, True, False, "signed before the newest bundle seen, which was allowed"),
        (3, False, True, "pinned root SHA256:x"),
        (1, False, True, "downgrade from version 2 was allowed; pinned root SHA256:x"),
    ],
)
def test_the_history_notes_what_is_out_of_the_ordinary(
    version: int, older: bool, pins: bool, note: str
) -> None:
    arriving = content(version, signed_by="SHA256:x")
    assert transitions.installation_note(TWO, arriving, older=older, pins=pins) == note


def test_who_was_verified_under_older_keys_is_admitted_and_who_was_not_is_not() -> None:
    old, new = TrustAnchor(root="old"), TrustAnchor(root="new")
    state = replace(TWO, contents={"a": content(1), "b": content(2, signed_by="SHA256:x")}, trust=old)
    moved = transitions.begin_install(state, content(3), new).trust
    assert moved == changed_anchor(new, {content(2).manifest_sha256: "SHA256:x"})
    same = transitions.begin_install(state, content(3), old).trust
    assert same == changed_anchor(old, {})
    # Admitted once, it stays so as long as its files do.
    kept = replace(state, trust=changed_anchor(old, {content(2).manifest_sha256: None}))
    assert transitions.begin_install(kept, content(3), old).trust == changed_anchor(
        old, {content(2).manifest_sha256: "SHA256:x"}
    )


def changed_anchor(anchor: TrustAnchor, admitted: dict[str, str | None]) -> TrustAnchor:
    return replace(anchor, admitted=admitted)


def test_keys_are_pinned_once() -> None:
    pinned = transitions.enrolled(TWO, "root")
    assert pinned.trust == TrustAnchor(
        root="root", admitted={content(1).manifest_sha256: None, content(2).manifest_sha256: None}
    )
    assert transitions.enrolled(pinned, "root") == pinned
    with pytest.raises(TrustError, match="pins only once"):
        transitions.enrolled(pinned, "other")


def test_a_newer_and_an_equal_version_may_be_installed_and_an_older_one_if_allowed() -> None:
    for version in (2, 3):
        transitions.check_install(TWO, content(version), allow_downgrade=False)
    transitions.check_install(DeviceState(), content(1, "other"), allow_downgrade=False)
    with pytest.raises(DeployError, match="version 1 is older than the installed 2"):
        transitions.check_install(TWO, content(1), allow_downgrade=False)
    transitions.check_install(TWO, content(1), allow_downgrade=True)
    with pytest.raises(ConfigError, match="this root is a 'board'"):
        transitions.check_install(TWO, content(3, "other"), allow_downgrade=True)


def test_a_bundle_needs_its_files_in_whole_blocks_and_a_reserve(bundle_folder: Path, tmp_path: Path) -> None:
    def blocks(size: int) -> int:
        return (size + 4095) // 4096 * 4096

    bundle = read_bundle(bundle_folder / "version1.epb")
    files = sum(blocks(file.size_bytes) for file in bundle.manifest.files)
    assert needed_bytes(bundle) == files + blocks(len(bundle.manifest_bytes)) + 65536
    signed = read_bundle(Signer.make(tmp_path / "k").sign(bundle_folder / "version1.epb", tmp_path / "1.epb"))
    assert signed.metadata is not None
    metadata = sum(blocks(len(each)) for _, each in signed.metadata.members())
    assert needed_bytes(signed) == needed_bytes(bundle) + metadata


def test_the_size_of_a_tree_is_that_of_its_files(tmp_path: Path) -> None:
    assert state_file.tree_bytes(tmp_path / "nothing") == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"x" * 10)
    (tmp_path / "a" / "b" / "two").write_bytes(b"x" * 32)
    assert state_file.tree_bytes(tmp_path) == 42


def test_a_tree_a_file_a_link_and_nothing_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for name in ("link", "tree", "file", "nothing"):
        state_file.remove_tree(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_a_lock_is_held_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with state_file.exclusive_lock(lock):
        assert lock.stat().st_mode & 0o777 == 0o600
        with pytest.raises(DeployError, match="Another installation"), state_file.exclusive_lock(lock):
            pass
    with state_file.exclusive_lock(lock):
        pass
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), state_file.exclusive_lock(lock):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_paths_of_a_root(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    names = {
        "state": "state.json", "lock": "lock", "anchor": "trust/anchor.json", "var": "var",
        "drift": "var/drift", "slots": "slots",
    }  # fmt: skip
    assert {name: getattr(layout, name).relative_to(tmp_path).as_posix() for name in names} == names
    assert layout.slot("a") == tmp_path / "slots" / "a"
    assert layout.staging("b") == tmp_path / "slots" / "b.staging"
    assert engine_cache_beside(layout.slot("a")) == tmp_path / "var" / "engine_cache"


def test_what_edgepose_did_not_make_is_foreign_until_there_is_a_state(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert Layout(tmp_path / "none").foreign_entries() == []
    for name in ("lock", ".state.json.0123456789abcdef.tmp", "thesis", "a"):
        (tmp_path / name).write_text("x")
    for name in ("trust", "var"):
        (tmp_path / name).mkdir()
    (tmp_path / "trust" / ".anchor.json.0123.tmp").write_text("x")
    assert layout.foreign_entries() == ["a", "thesis"]
    assert {path.name for path in layout.cut_off_writes()} == {
        ".state.json.0123456789abcdef.tmp", ".anchor.json.0123.tmp",
    }  # fmt: skip
    layout.state.write_text("{}")
    assert layout.foreign_entries() == []


@pytest.mark.parametrize(
    ("named", "data_home", "expected"),
    [
        ("/srv/device", "/data", "/srv/device"),
        ("relative", "/data", "/data/edgepose/preview"),
        ("", "/data", "/data/edgepose/preview"),
        ("", "relative", "/home/me/.local/share/edgepose/preview"),
        ("", "", "/home/me/.local/share/edgepose/preview"),
    ],
)
def test_the_preview_root_is_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, named: str, data_home: str, expected: str
) -> None:
    monkeypatch.setenv("EDGEPOSE_ROOT", named)
    monkeypatch.setenv("XDG_DATA_HOME", data_home)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_preview_root() == Path(expected)


def test_a_small_file_of_the_service_is_read_and_nothing_else(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_bytes(b"12345")
    assert read_of_service(note, 5) == b"12345"
    assert read_of_service(note, 4) is None
    assert read_of_service(tmp_path / "nothing") is None
    assert read_of_service(tmp_path) is None
    (tmp_path / "link").symlink_to(note)
    assert read_of_service(tmp_path / "link") is None
    os.mkfifo(tmp_path / "pipe")
    assert read_of_service(tmp_path / "pipe") is None
    # What the kernel calls empty and never ends.
    assert read_of_service(Path("/dev/zero")) is None


def test_a_record_of_the_service_that_is_damaged_is_none(tmp_path: Path) -> None:
    note = StartNote(manifest_sha256="0" * 64, outcome="steady")
    (tmp_path / "good").write_text(to_json(note))
    (tmp_path / "bad").write_text(to_json(note)[:-1])
    assert read_record_of_service(tmp_path / "good", StartNote) == note
    assert read_record_of_service(tmp_path / "bad", StartNote) is None
    assert read_record_of_service(tmp_path / "nothing", StartNote) is None


def test_var_takes_in_what_earlier_releases_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "drift").mkdir()
    (tmp_path / "telemetry.prom").write_text("old")
    (tmp_path / "running.json").write_text("old")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "running.json").write_text("new")
    assert make_var(tmp_path) == tmp_path / "var"
    assert (tmp_path / "var" / "drift").is_dir()
    assert (tmp_path / "var" / "telemetry.prom").read_text() == "old"
    assert (tmp_path / "var" / "running.json").read_text() == "new"
    assert (tmp_path / "running.json").exists()
    make_var(tmp_path)


def test_a_var_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    with pytest.raises(ConfigError, match="Cannot write"):
        make_var(tmp_path)


@root_only
def test_whose_var_it_is_decides_who_may_write_it(tmp_path: Path) -> None:
    assert is_own_var(tmp_path)
    require_own_var(tmp_path)
    require_own_var(tmp_path / "nothing")
    assert not is_own_var(tmp_path / "nothing")
    make_var(tmp_path)
    os.chown(tmp_path / "var", 65534, 65534)
    assert not is_own_var(tmp_path)
    with pytest.raises(ConfigError, match="belongs to the user 'nobody'"):
        require_own_var(tmp_path)
    os.chown(tmp_path / "var", 54321, 54321)
    with pytest.raises(ConfigError, match="belongs to the user '54321'"):
        require_own_var(tmp_path)


@root_only
def test_a_service_may_write_what_is_its_own_or_open_to_all(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert service_may_write(root) is None
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    make_var(root)
    assert service_may_write(root) is True
    os.chown(root / "var", 65534, 65534)
    root.chmod(0o755)
    assert service_may_write(root) is False
    for place in (root, root / "state.json", root / "slots"):
        mode = place.stat().st_mode & 0o777
        for wider in (0o020, 0o002):
            place.chmod(mode | wider)
            assert service_may_write(root) is True
            place.chmod(mode)
    assert service_may_write(root) is False


def test_a_root_is_looked_at_before_any_work(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    assert readiness.check_root(root, "test-board") == 1
    assert not (tmp_path / "deep").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is not a folder"):
        readiness.check_root(tmp_path / "file" / "root", "test-board")
    (tmp_path / "home").mkdir()
    for name in ("d", "c", "b", "a"):
        (tmp_path / "home" / name).write_text("x")
    with pytest.raises(ConfigError, match="it holds a, b, c\\."):
        readiness.check_root(tmp_path / "home", "test-board")
    install_bundle(bundle_folder / "version2.epb", root, hooks=QUIET)
    assert readiness.check_root(root, "test-board") == 3
    assert installer.next_bundle_version(root) == 3
    with pytest.raises(ConfigError, match="is a device of profile 'test-board'; this bundle is for 'other'"):
        readiness.check_root(root, "other")


def test_keys_are_looked_at_before_any_work(tmp_path: Path) -> None:
    signer, other = Signer.make(tmp_path / "keys"), Signer.make(tmp_path / "other")
    root = tmp_path / "root"
    readiness.check_keys(root, ())
    root.mkdir()
    readiness.check_keys(root, (other.root(),))
    readiness.enroll_device(root, signer.root())
    readiness.check_keys(root, (signer.root(),))
    signer.rotate()
    readiness.check_keys(root, (signer.root(1), signer.root(2)))
    with pytest.raises(TrustError, match="found those of SHA256:"):
        readiness.check_keys(root, (other.root(),))
    with pytest.raises(TrustError, match="found none: the bundle would be unsigned"):
        readiness.check_keys(root, ())


def test_a_fingerprint_that_was_told_must_be_the_one_that_is_found(tmp_path: Path) -> None:
    signer, root = Signer.make(tmp_path / "keys"), tmp_path / "root"
    found = readiness.root_fingerprint(signer.root())
    with pytest.raises(TrustError, match="expected SHA256:other"):
        readiness.enroll_device(root, signer.root(), "SHA256:other")
    assert not root.exists()
    assert readiness.enroll_device(root, signer.root(), found) == found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.1.0rc1", (2, 1)),
        ("2.1", (2, 1)),
        ("2.1.0", (2, 1)),
        ("10.0.3", (10, 0, 3)),
        ("x", ()),
        ("1.x.3", (1,)),
    ],
)
def test_versions_are_compared_by_their_leading_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert _version(text) == numbers
