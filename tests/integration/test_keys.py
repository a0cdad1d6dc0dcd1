"""Keys from the command line: made, shown, rotated, used, and never without a passphrase by accident."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgepose.device.install.installer import Hooks, install_bundle
from tests.support.bundle_fixtures import bundle_folder
from tests.support.cut_off import HEALTHY, always

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY))
PASSPHRASE = "correct horse"  # noqa: S105


def program(
    module: str, *arguments: object, home: Path, passphrase: str | None = PASSPHRASE
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGEPOSE_KEYS_HOME": str(home), "XDG_DATA_HOME": str(home.parent / "data")}
    environment.pop("EDGEPOSE_KEYS_PASSPHRASE", None)
    if passphrase is not None:
        environment["EDGEPOSE_KEYS_PASSPHRASE"] = passphrase
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        check=False,
    )


def edgepose(*arguments: object, home: Path, passphrase: str | None = PASSPHRASE) -> Any:
    return program("edgepose", *arguments, home=home, passphrase=passphrase)


def on_device(*arguments: object, home: Path) -> Any:
    return program("edgepose.cli.device_main", *arguments, home=home)


def record(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert process.returncode == 0, process.stderr
    data: dict[str, Any] = json.loads(process.stdout)
    return data


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    home = tmp_path / "keys"
    assert edgepose("keys", "init", home=home).returncode == 0
    return home


def test_keys_are_encrypted_private_files_and_show_tells_no_secret(home: Path) -> None:
    shown = record(edgepose("keys", "show", "--json", "-", home=home))
    assert shown["encrypted"] is True
    assert [role["role"] for role in shown["roles"]] == ["root", "targets", "snapshot", "timestamp"]
    assert all(role["keys_here"] == role["threshold"] == 1 for role in shown["roles"])
    assert stat.S_IMODE((home / "private").stat().st_mode) == 0o700
    files = list((home / "private").iterdir())
    assert len(files) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert all(b"ENCRYPTED" in path.read_bytes() for path in files if path.suffix == ".pem")
    again = edgepose("keys", "init", home=home)
    assert again.returncode == 3
    assert "never overwritten" in again.stderr


def test_without_a_terminal_and_a_passphrase_nothing_is_asked_and_nothing_made(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    refused = edgepose("keys", "init", home=home, passphrase=None)
    assert refused.returncode == 3
    assert "EDGEPOSE_KEYS_PASSPHRASE" in refused.stderr
    assert edgepose("keys", "init", home=home, passphrase="").returncode == 3
    assert not home.exists()
    plain = edgepose("keys", "init", "--no-passphrase", home=home, passphrase=None)
    assert plain.returncode == 0
    assert "NOT encrypted" in plain.stderr
    assert record(edgepose("keys", "show", "--json", "-", home=home))["encrypted"] is False


def test_a_wrong_passphrase_ends_with_exit_code_7_and_signs_nothing(
    home: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "signed.epb"
    command = ("keys", "sign", bundle_folder / "version1.epb", "-o", target)
    wrong = edgepose(*command, home=home, passphrase="wrong")  # noqa: S106
    assert wrong.returncode == 7
    assert "passphrase" in wrong.stderr
    assert not target.exists()
    assert edgepose(*command, home=home).returncode == 0
    assert target.exists()


def test_verify_shows_who_signed_and_whether_that_was_compared(
    home: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "signed.epb"
    assert edgepose("keys", "sign", bundle_folder / "version1.epb", "-o", target, home=home).returncode == 0
    shown = record(edgepose("keys", "show", "--json", "-", home=home))
    mine = record(edgepose("verify", target, "--json", "-", home=home))
    assert (mine["signed"], mine["signature"]["pinned"]) == (True, True)
    assert mine["signature"]["root_fingerprint"] == shown["fingerprint"]
    assert [role["key_ids"] for role in mine["signature"]["roles"]] == [
        role["key_ids"] for role in sorted(shown["roles"], key=lambda r: _ORDER.index(r["role"]))
    ]
    elsewhere = tmp_path / "nobody"
    stranger = edgepose("verify", target, home=elsewhere)
    assert "NOTHING was compared" in stranger.stdout
    given = edgepose("verify", target, "--root-key", home / "metadata" / "1.root.json", home=elsewhere)
    assert "by the pinned keys" in given.stdout
    other = tmp_path / "other"
    assert edgepose("keys", "init", home=other).returncode == 0
    for bundle in (target, bundle_folder / "version1.epb"):
        refused = edgepose("verify", bundle, "--root-key", other / "metadata" / "1.root.json", home=elsewhere)
        assert refused.returncode == 7


_ORDER = ["root", "timestamp", "snapshot", "targets"]


def test_a_rotation_revokes_and_bundles_are_signed_again(
    home: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    before = record(edgepose("keys", "show", "--json", "-", home=home))
    target = tmp_path / "signed.epb"
    assert edgepose("keys", "sign", bundle_folder / "version1.epb", "-o", target, home=home).returncode == 0
    rotated = record(
        edgepose(
            "keys",
            "rotate",
            "--role",
            "root",
            "--role",
            "targets",
            "--threshold",
            2,
            "--json",
            "-",
            home=home,
        )
    )
    roles = {role["role"]: role for role in rotated["roles"]}
    assert (roles["root"]["version"], roles["root"]["threshold"], roles["root"]["keys_here"]) == (2, 2, 2)
    assert roles["timestamp"]["key_ids"] == before["roles"][3]["key_ids"]
    gone = {key[:16] for role in before["roles"][:2] for key in role["key_ids"]}
    assert not any(key in path.name for key in gone for path in (home / "private").iterdir())
    assert edgepose("verify", target, home=home).returncode == 7
    assert edgepose("keys", "sign", target, "-o", target, home=home).returncode == 3
    assert edgepose("keys", "sign", target, "-o", target, "--force", home=home).returncode == 0
    assert edgepose("verify", target, home=home).returncode == 0


def test_a_device_is_enrolled_and_verifies_by_its_pinned_keys(
    home: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "signed.epb"
    assert edgepose("keys", "sign", bundle_folder / "version1.epb", "-o", target, home=home).returncode == 0
    fingerprint = record(edgepose("keys", "show", "--json", "-", home=home))["fingerprint"]
    root_file = home / "metadata" / "1.root.json"
    assert on_device("enroll", root_file, "--fingerprint", "SHA256:0", home=home).returncode == 7
    enrolled = record(on_device("enroll", root_file, "--fingerprint", fingerprint, "--json", "-", home=home))
    assert enrolled["fingerprint"] == fingerprint
    assert "by the pinned keys" in on_device("verify", target, home=home).stdout
    assert on_device("verify", bundle_folder / "version1.epb", home=home).returncode == 7
    install_bundle(target, tmp_path / "data" / "edgepose" / "preview", hooks=QUIET)
    assert "yes, by SHA256:" in on_device("verify", home=home).stdout
    status = edgepose("status", home=home).stdout
    assert "signed        yes" in status
    assert f"pinned keys   root version 1, {fingerprint}" in status


def test_bundle_signs_where_there_are_keys_and_says_what_it_needs(home: Path, tmp_path: Path) -> None:
    from tests.support.bundled_models import MatchedFilters

    model = MatchedFilters().write(tmp_path / "model.onnx")
    command = ("bundle", model, "--profile", "jetson", "-o", tmp_path / "b.epb")
    made = record(edgepose(*command, "--json", "-", home=home))
    assert (made["signed"], made["signature"]["pinned"]) == (True, True)
    assert made == record(edgepose("verify", tmp_path / "b.epb", "--json", "-", home=home))
    silent = edgepose(*command, "--force", home=home, passphrase=None)
    assert silent.returncode == 3
    assert "EDGEPOSE_KEYS_PASSPHRASE" in silent.stderr
    unsigned = record(edgepose(*command, "--unsigned", "--force", "--json", "-", home=home, passphrase=None))
    assert unsigned["signed"] is False
    assert edgepose(*command, "--keys", tmp_path / "none", home=home).returncode == 3
