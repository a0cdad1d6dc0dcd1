"""What is installed is asked for its signatures at every start; the state beside it proves nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgepose.device.install.installed import installed_model, read_status
from edgepose.device.install.installer import Hooks, install_bundle, rollback
from edgepose.device.install.layout import Layout
from edgepose.device.install.readiness import enroll_device
from edgepose.device.install.service_start import begin_service
from edgepose.device.install.state_file import read_state
from edgepose.errors import DeployError, TrustError
from edgepose.trust.digests import sha256_of_bytes
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, always
from tests.support.pictures import write_pictures
from tests.support.signed_bundles import NOW, Signer

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY), clock=lambda: NOW)


@pytest.fixture(name="signer")
def _signer(tmp_path: Path) -> Signer:
    return Signer.make(tmp_path / "keys")


@pytest.fixture(name="signed")
def _signed(signer: Signer, bundle_folder: Path, tmp_path: Path) -> dict[int, Path]:
    return {
        version: signer.sign(bundle_folder / f"version{version}.epb", tmp_path / f"signed{version}.epb")
        for version in (1, 2)
    }


@pytest.fixture(name="root")
def _root(signer: Signer, signed: dict[int, Path], tmp_path: Path) -> Path:
    """Pinned keys, version 1 and version 2, which is active in slot b."""
    root = tmp_path / "root"
    enroll_device(root, signer.root())
    for version in (1, 2):
        install_bundle(signed[version], root, hooks=QUIET)
    return root


def active_slot(root: Path) -> Path:
    slot = read_state(Layout(root)).active
    assert slot is not None
    return Layout(root).slot(slot)


def refused(root: Path) -> bool:
    """Whether no start takes what is there: a run, a service, a rollback to it."""
    try:
        installed_model(root)
    except TrustError:
        return True
    return False


def rewrite_state(root: Path, **changes: Any) -> None:
    """What a person with an editor does to what the state says of the active version."""
    path = root / "state.json"
    state = json.loads(path.read_text())
    state["contents"][state["active"]].update(changes)
    path.write_text(json.dumps(state))


def change_model(root: Path) -> None:
    """Another model in the active slot, and a manifest and a state that agree with it."""
    slot = active_slot(root)
    model, manifest = slot / "model.onnx", slot / "manifest.json"
    before = sha256_of_bytes(model.read_bytes())
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    after = sha256_of_bytes(model.read_bytes())
    manifest.write_text(manifest.read_text().replace(before, after))
    rewrite_state(root, model_sha256=after, manifest_sha256=sha256_of_bytes(manifest.read_bytes()))


def test_one_changed_byte_in_any_file_of_a_slot_is_refused_at_the_start(root: Path) -> None:
    files = sorted(path for path in active_slot(root).rglob("*") if path.is_file())
    assert {
        "manifest.json",
        "model.onnx",
        "1.root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
    } <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert refused(root), (path.name, at)
            with pytest.raises(TrustError):
                begin_service(root, hooks=QUIET)
        path.write_bytes(whole)
        # The negative control: the same file as it was is taken.
        assert not refused(root), path.name


def test_files_that_appear_vanish_or_are_links_are_refused(root: Path, tmp_path: Path) -> None:
    slot = active_slot(root)
    for name in ("extra.bin", "metadata/9.root.json", "metadata/extra"):
        (slot / name).write_bytes(b"x")
        assert refused(root), name
        (slot / name).unlink()
    for name in ("model.onnx", "metadata/targets.json", "metadata/1.root.json"):
        (slot / name).rename(tmp_path / "aside")
        assert refused(root), name
        (slot / name).symlink_to(tmp_path / "aside")
        assert refused(root), name
        (slot / name).unlink()
        (tmp_path / "aside").rename(slot / name)
    slot.rename(tmp_path / "elsewhere")
    slot.symlink_to(tmp_path / "elsewhere")
    assert refused(root)
    slot.unlink()
    (tmp_path / "elsewhere").rename(slot)
    assert not refused(root)


def test_a_model_manifest_and_state_that_agree_are_refused_without_the_signature(root: Path) -> None:
    change_model(root)
    assert refused(root)
    with pytest.raises(TrustError, match="another manifest than the state names"):
        read_status(root)
    # Nor without the metadata that tells on them.
    shutil.rmtree(active_slot(root) / "metadata")
    rewrite_state(root, signed_by=None)
    assert refused(root)
    with pytest.raises(TrustError, match="nobody signed it"):
        read_status(root)


def test_without_pinned_keys_the_same_edit_is_taken_and_never_called_signed(
    bundle_folder: Path, tmp_path: Path
) -> None:
    """The negative control: digests alone show damage, no forger."""
    root = tmp_path / "unpinned"
    install_bundle(bundle_folder / "version1.epb", root, hooks=QUIET)
    change_model(root)
    assert not refused(root)
    assert (read_status(root).signed, read_status(root).files_intact) == (False, True)
    rewrite_state(root, signed_by="SHA256:" + "0" * 64)
    with pytest.raises(TrustError, match="says that it is signed"):
        read_status(root)


def test_signed_files_of_another_version_are_not_what_the_state_names(root: Path) -> None:
    active, other = active_slot(root), root / "slots" / "a"
    shutil.rmtree(active)
    shutil.copytree(other, active)
    assert refused(root)
    content = read_state(Layout(root)).contents["a"]
    # Once the state names that manifest its signature is right, and still it is not version 2.
    rewrite_state(root, manifest_sha256=content.manifest_sha256)
    with pytest.raises(TrustError, match="another version"):
        installed_model(root)


def test_keys_removed_from_the_state_stay_pinned(root: Path, bundle_folder: Path) -> None:
    path = root / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "trust": None}))
    with pytest.raises(TrustError, match="not signed"):
        install_bundle(bundle_folder / "version3.epb", root, allow_downgrade=True, hooks=QUIET)
    assert read_status(root).signed is True
    path.unlink()
    with pytest.raises(TrustError, match="not signed"):
        install_bundle(bundle_folder / "version3.epb", root, hooks=QUIET)
    # The negative control: the file that does pin them. What was signed is then refused, not called unsigned.
    path.write_text(json.dumps({**state, "trust": None}))
    Layout(root).anchor.unlink()
    assert read_state(Layout(root)).trust is None
    with pytest.raises(TrustError, match="had pinned are gone"):
        installed_model(root)


def test_an_installed_version_runs_on_when_its_signature_has_run_out(
    root: Path, signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    short = signer.sign(bundle_folder / "version3.epb", tmp_path / "short.epb", valid_days=1)
    install_bundle(short, root, hooks=QUIET)
    later = replace(QUIET, clock=lambda: NOW + timedelta(days=4000))
    begin_service(root, hooks=later)
    assert installed_model(root).manifest.bundle_version == 3
    assert read_status(root).signed is True
    # The negative control: to install it then is refused.
    with pytest.raises(TrustError, match="expired"):
        install_bundle(short, root, hooks=later)


def test_a_version_of_revoked_keys_may_be_returned_to_and_only_as_it_was(
    root: Path, signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    signer.rotate()
    install_bundle(signer.sign(bundle_folder / "version3.epb", tmp_path / "renewed.epb"), root, hooks=QUIET)
    assert rollback(root, hooks=QUIET).bundle_version == 2
    assert read_status(root).signed is True
    timestamp = active_slot(root) / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes().replace(b"a", b"b", 1))
    assert refused(root)


def test_revoked_keys_sign_nothing_new_into_a_slot(
    root: Path, signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    """Somebody with the old keys and the rights of the owner: the pinned root is a newer one."""
    revoked = signer.sign(bundle_folder / "version3.epb", tmp_path / "revoked.epb")
    other = tmp_path / "other"
    enroll_device(other, signer.root())
    install_bundle(revoked, other, hooks=QUIET)
    signer.rotate()
    renewed = signer.sign(bundle_folder / "version3.epb", tmp_path / "renewed.epb")
    install_bundle(renewed, root, hooks=QUIET)
    # The same manifest, signed by the new keys, makes way for the one with the old signatures.
    slot = active_slot(root)
    shutil.rmtree(slot)
    shutil.copytree(active_slot(other), slot)
    with pytest.raises(TrustError, match="rotated since"):
        installed_model(root)


def as_before(root: Path) -> None:
    """A root of a release that kept keys in the state and no signatures in the slots."""
    shutil.rmtree(root / "trust")
    for slot in ("a", "b"):
        shutil.rmtree(root / "slots" / slot / "metadata")


def test_a_root_of_an_older_release_runs_stays_pinned_and_moves_its_keys(
    root: Path, signer: Signer, bundle_folder: Path, tmp_path: Path
) -> None:
    as_before(root)
    begin_service(root, hooks=QUIET)
    assert installed_model(root).manifest.bundle_version == 2
    assert read_status(root).signed is True
    assert Layout(root).anchor.is_file()
    with pytest.raises(TrustError, match="not signed"):
        install_bundle(bundle_folder / "version3.epb", root, hooks=QUIET)
    third = signer.sign(bundle_folder / "version3.epb", tmp_path / "third.epb")
    install_bundle(third, root, hooks=QUIET)
    assert (active_slot(root) / "metadata").is_dir()
    assert rollback(root, hooks=QUIET).bundle_version == 2
    # What was admitted then is one manifest, not whatever lies there.
    change_model(root)
    assert refused(root)


def test_an_older_release_can_still_read_the_state(root: Path) -> None:
    """A new version that is taken back leaves the old program on the device, which knows no anchor file."""
    trust = json.loads((root / "state.json").read_text())["trust"]
    assert set(trust) == {"root", "timestamp", "snapshot", "signed_at"}


@pytest.mark.slow
@pytest.mark.parametrize("words", [["service"], ["run"], ["status"], ["health"], ["verify"]])
def test_every_command_that_starts_or_tells_refuses_an_edited_slot_with_exit_code_7(
    words: list[str], root: Path, tmp_path: Path
) -> None:
    change_model(root)
    pictures = [write_pictures(tmp_path / "pictures", 1)] if words[0] in {"service", "run"} else []
    call = [sys.executable, "-m", "edgepose.cli.device_main", *words, *pictures, "--root", root]
    done = subprocess.run(list(map(str, call)), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 7, done.stderr
    assert "refused" in done.stderr


def test_a_slot_that_is_edited_is_not_rolled_back_to(root: Path) -> None:
    model = root / "slots" / "a" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises((TrustError, DeployError)) as problem:
        rollback(root, hooks=QUIET)
    assert problem.value.exit_code == 7
    assert read_status(root).bundle_version == 2
