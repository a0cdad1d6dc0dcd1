"""``edgepose-device`` on bundles and on what is installed: the same poses as the model file, or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.device.install.installer import install_bundle
from tests.support.bundle_fixtures import bundle_folder  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), noise)
    return folder


@pytest.fixture
def root(bundle_folder: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A device root with version 2 over version 1."""
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", tmp_path / "root")
    return tmp_path / "root"


def _device(*arguments: object, temporary: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgepose.cli.device_main", *map(str, arguments)]
    environment = {**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def _poses(*arguments: object, temporary: Path | None = None) -> list[Any]:
    result = _device("run", *arguments, "--output", "-", temporary=temporary)
    assert result.returncode == 0, result.stderr
    return [json.loads(line)["poses"] for line in result.stdout.splitlines()]


def test_bundle_root_and_model_file_give_the_same_poses(
    bundle_folder: Path,  # noqa: F811
    root: Path,
    pictures: Path,
) -> None:
    plain = _poses(pictures, "--model", bundle_folder / "model.onnx")
    assert _poses(pictures, "--bundle", bundle_folder / "version1.epb") == plain
    assert _poses(pictures, "--root", root) == plain
    # Negative control: another model sees something else.
    assert _poses(pictures, "--model", bundle_folder / "other.onnx") != plain


def test_a_bundle_leaves_nothing_in_the_temporary_folder(
    bundle_folder: Path,  # noqa: F811
    pictures: Path,
    tmp_path: Path,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    _poses(pictures, "--bundle", bundle_folder / "version1.epb", temporary=temporary)
    assert not [path for path in temporary.iterdir() if path.name.startswith("edgepose")]


def test_a_changed_bundle_is_refused_and_writes_no_pose(
    bundle_folder: Path,  # noqa: F811
    pictures: Path,
    tmp_path: Path,
) -> None:
    content = bytearray((bundle_folder / "version1.epb").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.epb").write_bytes(content)
    result = _device("run", pictures, "--bundle", tmp_path / "changed.epb", "--output", tmp_path / "p.jsonl")
    assert result.returncode == 7, result.stderr
    assert not (tmp_path / "p.jsonl").exists()


def test_a_changed_model_in_the_root_is_refused(root: Path, pictures: Path) -> None:
    for model in root.glob("slots/*/model.onnx"):
        model.chmod(0o644)
        with model.open("ab") as stream:
            stream.write(b"x")
    assert _device("run", pictures, "--root", root).returncode == 7
    assert _device("verify", "--root", root).returncode == 7
    assert _device("health", "--root", root).returncode == 7


def test_status_verify_health_and_rollback_of_what_is_installed(root: Path) -> None:
    status = json.loads(_device("status", "--root", root, "--json", "-").stdout)
    assert (status["schema"], status["bundle_version"]) == ("edgepose.status/1", 2)
    verified = json.loads(_device("verify", "--root", root, "--json", "-").stdout)
    assert verified["verified"]
    assert verified["manifest"]["bundle_version"] == 2
    health = _device("health", "--root", root, "--json", "-")
    assert health.returncode == 0, health.stderr
    assert json.loads(health.stdout)["schema"] == "edgepose.health/1"
    assert json.loads(health.stdout)["passed"]
    assert _device("rollback", "--root", root).returncode == 0
    status = json.loads(_device("status", "--root", root, "--json", "-").stdout)
    assert status["bundle_version"] == 1


def test_verify_takes_a_bundle_too(bundle_folder: Path, root: Path) -> None:  # noqa: F811
    assert _device("verify", bundle_folder / "version1.epb").returncode == 0
    assert _device("verify", bundle_folder / "model.onnx").returncode == 7
    assert _device("verify", bundle_folder / "version1.epb", "--root", root).returncode == 2
