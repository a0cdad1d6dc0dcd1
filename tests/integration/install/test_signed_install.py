"""Signed bundles on a device root: pinned once, moved on by what was verified, never back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edgepose.device.install.installed import read_status
from edgepose.device.install.installer import Hooks, install_bundle, rollback
from edgepose.device.install.layout import Layout
from edgepose.device.install.readiness import enroll_device
from edgepose.device.install.state_file import read_state
from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.host.keys.key_home import KeyHome
from edgepose.trust.signed_bundle import root_fingerprint
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, SICK, always, killed_at, moments_of
from tests.support.signed_bundles import EPOCH, NOW, Signer

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY), clock=lambda: NOW)
IN_1970 = replace(QUIET, clock=lambda: EPOCH)


@pytest.fixture(name="signer")
def _signer(tmp_path: Path) -> Signer:
    return Signer.make(tmp_path / "keys")


@pytest.fixture(name="signed")
def _signed(signer: Signer, bundle_folder: Path, tmp_path: Path) -> dict[int, Path]:
    return {
        version: signer.sign(bundle_folder / f"version{version}.epb", tmp_path / f"signed{version}.epb")
        for version in (1, 2, 3)
    }


@pytest.fixture(name="root")
def _root(signer: Signer, tmp_path: Path) -> Path:
    enroll_device(tmp_path / "root", signer.root())
    return tmp_path / "root"


def version_of(root: Path) -> int | None:
    return read_status(root).bundle_version


def test_an_enrolled_device_takes_what_its_keys_signed_and_says_so(
    root: Path, signed: dict[int, Path], signer: Signer
) -> None:
    assert read_status(root).signed is False
    install_bundle(signed[1], root, hooks=QUIET)
    status = read_status(root)
    assert (status.bundle_version, status.signed) == (1, True)
    assert status.trust is not None
    assert status.trust.fingerprint == root_fingerprint(signer.root())
    assert (status.trust.root_version, status.trust.newest_signed_at) == (1, NOW.isoformat())


def test_an_enrolled_device_refuses_unsigned_and_strange_bundles(
    root: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    strange = Signer.make(tmp_path / "other").sign(bundle_folder / "version1.epb", tmp_path / "strange.epb")
    for bundle, said in ((bundle_folder / "version1.epb", "not signed"), (strange, "other keys")):
        with pytest.raises(TrustError, match=said):
            install_bundle(bundle, root, hooks=QUIET)
        # Not even with the stranger's root beside it: pinned is pinned.
        with pytest.raises(TrustError, match=said):
            install_bundle(bundle, root, enroll=Signer(_home(tmp_path / "other")).root(), hooks=QUIET)
    assert version_of(root) is None


def _home(folder: Path) -> KeyHome:
    return KeyHome(folder)


def test_a_device_without_pinned_keys_takes_unsigned_bundles_and_refuses_signed_ones(
    bundle_folder: Path, signed: dict[int, Path], tmp_path: Path
) -> None:
    fresh = tmp_path / "fresh"
    with pytest.raises(TrustError, match="pinned no keys"):
        install_bundle(signed[2], fresh, hooks=QUIET)
    assert not fresh.exists()
    install_bundle(bundle_folder / "version1.epb", fresh, hooks=QUIET)
    assert (version_of(fresh), read_status(fresh).signed) == (1, False)


def test_the_first_installation_may_pin_and_the_history_tells_it(
    bundle_folder: Path, signed: dict[int, Path], signer: Signer, tmp_path: Path
) -> None:
    lines: list[str] = []
    fresh = tmp_path / "fresh"
    install_bundle(signed[1], fresh, enroll=signer.root(), report=lines.append, hooks=QUIET)
    fingerprint = root_fingerprint(signer.root())
    assert any(fingerprint in line for line in lines)
    assert fingerprint in read_status(fresh).history[-1].detail
    with pytest.raises(TrustError, match="not signed"):
        install_bundle(bundle_folder / "version2.epb", fresh, hooks=QUIET)
    install_bundle(signed[2], fresh, hooks=QUIET)
    assert "pinned" not in read_status(fresh).history[-1].detail


def test_enrolment_happens_once_and_only_with_a_root_of_the_right_fingerprint(
    root: Path, signer: Signer, tmp_path: Path
) -> None:
    other = Signer.make(tmp_path / "other").root()
    assert enroll_device(root, signer.root()) == root_fingerprint(signer.root())
    with pytest.raises(TrustError, match="pins only once"):
        enroll_device(root, other)
    with pytest.raises(TrustError, match="expected SHA256:0"):
        enroll_device(tmp_path / "new", other, "SHA256:0")
    with pytest.raises(TrustError, match="not TUF metadata"):
        enroll_device(tmp_path / "new", b"{}")
    assert not (tmp_path / "new").exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    with pytest.raises(ConfigError, match="not an edgepose root"):
        enroll_device(tmp_path / "foreign", other)


def test_a_device_with_an_unsigned_model_may_be_enrolled(
    bundle_folder: Path, signed: dict[int, Path], signer: Signer, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    install_bundle(bundle_folder / "version1.epb", used, hooks=QUIET)
    enroll_device(used, signer.root())
    assert (version_of(used), read_status(used).signed) == (1, False)
    install_bundle(signed[2], used, hooks=QUIET)
    assert (version_of(used), read_status(used).signed) == (2, True)


def test_an_older_bundle_is_a_downgrade_and_the_history_says_that_it_was_allowed(
    root: Path, signed: dict[int, Path]
) -> None:
    install_bundle(signed[2], root, hooks=QUIET)
    before = read_state(Layout(root))
    with pytest.raises(DeployError, match="before"):
        install_bundle(signed[1], root, hooks=QUIET)
    assert read_state(Layout(root)) == before
    install_bundle(signed[1], root, allow_downgrade=True, hooks=QUIET)
    assert version_of(root) == 1
    assert "downgrade from version 2 was allowed" in read_status(root).history[-1].detail
    # It has not forgotten how far it was.
    assert read_state(Layout(root)).trust == before.trust


def test_revoked_keys_stay_revoked_even_when_the_bundle_that_said_so_was_sick(
    root: Path, signed: dict[int, Path], signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    install_bundle(signed[1], root, hooks=QUIET)
    signer.rotate()
    renewed = signer.sign(bundle_folder / "version3.epb", tmp_path / "renewed.epb")
    with pytest.raises(DeployError, match="health check"):
        install_bundle(renewed, root, hooks=replace(QUIET, check_health=always(SICK)))
    assert version_of(root) == 1
    with pytest.raises(TrustError, match="rotated since"):
        install_bundle(signed[2], root, allow_downgrade=True, hooks=QUIET)
    install_bundle(renewed, root, hooks=QUIET)
    assert version_of(root) == 3


def test_a_device_in_1970_that_skipped_two_rotations_updates_and_learns_the_time(
    root: Path, signed: dict[int, Path], signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    install_bundle(signed[1], root, hooks=IN_1970)
    stale = signer.sign(bundle_folder / "version2.epb", tmp_path / "stale.epb", valid_days=1)
    signer.rotate()
    signer.rotate(threshold=2)
    late = signer.sign(bundle_folder / "version3.epb", tmp_path / "late.epb", days_later=30)
    install_bundle(late, root, hooks=IN_1970)
    status = read_status(root)
    assert status.trust is not None
    assert status.trust.root_version == 3
    assert status.trust.newest_signed_at == (NOW + timedelta(days=30)).isoformat()
    with pytest.raises(TrustError):
        install_bundle(stale, root, allow_downgrade=True, hooks=IN_1970)


def test_rollback_needs_no_signature_again(root: Path, signed: dict[int, Path]) -> None:
    for version in (1, 2):
        install_bundle(signed[version], root, hooks=QUIET)
    assert rollback(root, hooks=QUIET).bundle_version == 1
    assert read_status(root).signed is True


def test_a_first_signed_installation_killed_at_any_moment_pins_nothing_or_the_right_keys(
    signed: dict[int, Path], signer: Signer, tmp_path: Path
) -> None:
    def act(root: Path, hooks: Hooks) -> object:
        return install_bundle(signed[1], root, enroll=signer.root(), hooks=replace(hooks, clock=lambda: NOW))

    names = moments_of(lambda hooks: act(tmp_path / "rehearsal", hooks))
    for moment, name in enumerate(names):
        root = tmp_path / f"cut{moment}"
        assert killed_at(moment, lambda hooks, root=root: act(root, hooks))  # type: ignore[misc]
        trust = read_state(Layout(root)).trust
        assert trust is None or trust.root == signer.root().decode(), name
        act(root, QUIET)
        assert read_status(root).signed is True


def test_enrolment_killed_at_any_moment_pins_nothing_or_the_right_keys(
    signer: Signer, tmp_path: Path
) -> None:
    names: list[str] = []
    enroll_device(tmp_path / "rehearsal", signer.root(), None, names.append)
    for moment in range(len(names)):
        root = tmp_path / f"cut{moment}"

        def act(hooks: Hooks, root: Path = root) -> object:
            return enroll_device(root, signer.root(), None, hooks.reach)

        assert killed_at(moment, act)
        trust = read_state(Layout(root)).trust
        assert trust is None or trust.root == signer.root().decode()
        assert enroll_device(root, signer.root()) == root_fingerprint(signer.root())
