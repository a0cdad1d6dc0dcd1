"""bundle, verify, status and rollback as programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgepose.device.install.installer import Hooks, install_bundle
from edgepose.device.install.layout import default_preview_root
from edgepose.records.device_profile import find_profile
from edgepose.runtime.image_file import read_image_rgb
from tests.support.bundle_fixtures import bundle_folder
from tests.support.bundled_models import MatchedFilters
from tests.support.cut_off import HEALTHY, always

__all__ = ["bundle_folder"]

QUIET = Hooks(check_health=always(HEALTHY))


def edgepose(*arguments: object, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"XDG_DATA_HOME": str(home)} if home else {})}
    return subprocess.run(
        [sys.executable, "-m", "edgepose", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def record(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert process.returncode == 0, process.stderr
    data: dict[str, Any] = json.loads(process.stdout)
    return data


def test_bundle_and_verify_agree_and_say_that_nothing_is_signed(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "model.onnx")
    bundle = tmp_path / "pose.epb"
    made = record(
        edgepose("bundle", model, "--profile", "jetson", "-o", bundle, "--bundle-version", 7, "--json", "-")
    )
    verified = record(edgepose("verify", bundle, "--json", "-"))
    assert made == verified
    assert verified["manifest"]["bundle_version"] == 7
    assert verified["signed"] is False
    text = edgepose("verify", bundle).stdout
    assert "signed        no" in text
    assert "accuracy      not measured" in text


def test_a_damaged_bundle_ends_with_exit_code_7(bundle_folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.epb"
    data = bytearray((bundle_folder / "version1.epb").read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    process = edgepose("verify", damaged)
    assert process.returncode == 7
    assert "is refused" in process.stderr
    assert process.stdout == ""


def test_a_format_that_the_profile_does_not_run_ends_with_exit_code_3(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "model.onnx")
    process = edgepose("bundle", model, "--profile", "raspberrypi", "-o", tmp_path / "b.epb")
    assert process.returncode == 3
    assert "edgepose convert" in process.stderr


def test_status_and_rollback_of_the_preview_root(bundle_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "edgepose" / "preview"
    for version in (1, 2):
        install_bundle(bundle_folder / f"version{version}.epb", root, hooks=QUIET)
    status = record(edgepose("status", "--json", "-", home=tmp_path))
    assert next(iter(status)) == "schema"
    assert {key: status[key] for key in ("schema", "active_slot", "bundle_version", "verified_on")} == {
        "schema": "edgepose.status/1",
        "active_slot": "b",
        "bundle_version": 2,
        "verified_on": "host",
    }
    assert {"enforced": False, "mechanisms": []}.items() <= status["sandbox"].items()
    assert {"model_sha256", "backend", "health", "history"} < set(status)
    back = record(edgepose("rollback", "--json", "-", home=tmp_path))
    assert (back["bundle_version"], back["previous_version"]) == (1, 2)
    text = edgepose("status", "--root", root).stdout
    assert "slot a, version 1" in text
    assert "rolled_back" in text


def test_nothing_installed_ends_with_exit_code_3_and_the_next_step(tmp_path: Path) -> None:
    for name in ("status", "rollback"):
        process = edgepose(name, "--root", tmp_path / "none")
        assert process.returncode == 3
        assert "edgepose deploy" in process.stderr


def test_the_preview_root_follows_the_xdg_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_preview_root() == tmp_path / "edgepose" / "preview"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_preview_root() == tmp_path / ".local" / "share" / "edgepose" / "preview"


@pytest.mark.shared_data
@pytest.mark.slow
def test_tinypose_with_a_detector_is_bundled_installed_and_rolled_back(
    shared_data: Path, tmp_path: Path
) -> None:
    models, root = shared_data / "models", tmp_path / "root"
    arguments = ["--spec", "tinypose_256x192", "--profile", "jetson", "--detector"]
    arguments += [str(models / "yolox_nano.onnx"), "--detector-spec", "yolox_nano"]
    for version in (1, 2):
        bundle = tmp_path / f"{version}.epb"
        made = record(
            edgepose(
                "bundle",
                models / "tinypose_256x192.onnx",
                *arguments,
                "-o",
                bundle,
                "--bundle-version",
                version,
                "--json",
                "-",
            )
        )
        assert len(made["manifest"]["golden"]["detections"]) == 4
        report = install_bundle(bundle, root)
        assert report.health.worst_oks is not None
        assert report.health.worst_oks > 0.99
        assert report.health.worst_detection_iou is not None
        assert report.health.worst_detection_iou > 0.99
    # On a PC the Jetson's TensorRT was not there, and nothing claims it was.
    assert find_profile("jetson").runtime.delegate == "tensorrt"
    assert (report.health.verified_on, report.health.accelerator) == ("host", "not_verified")
    assert read_image_rgb(root / "slots" / "b" / "golden" / "0.png").shape == (256, 192, 3)
    assert edgepose("rollback", "--root", root).returncode == 0
