"""The Jetson profile where this machine is its device and has no TensorRT: refused, or the fallback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundled_models import MatchedFilters
from tests.support.machine_profiles import profile_of_this_machine


def edgepose(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("fallback", "code"), [("[]", 9), ('["cpu"]', 0)], ids=["no fallback", "the CPU is allowed"]
)
def test_without_tensorrt_a_run_ends_with_exit_code_9_unless_the_profile_allows_the_cpu(
    tmp_path: Path, marker_set: Path, fallback: str, code: int
) -> None:
    profile = profile_of_this_machine("jetson-orin-nano", tmp_path, fallback=fallback)
    bundle = tmp_path / "pose.epb"
    made = edgepose("bundle", MatchedFilters().write(tmp_path / "m.onnx"), "--profile", profile, "-o", bundle)
    assert made.returncode == 0, made.stderr
    ran = edgepose("run", next((marker_set / "images").iterdir()), "--bundle", bundle)
    assert ran.returncode == code, ran.stderr
    assert ("TensorrtExecutionProvider is required" in ran.stderr) == (code == 9)


def test_status_says_that_the_fallback_runs(tmp_path: Path) -> None:
    profile = profile_of_this_machine(
        "jetson-orin-nano", tmp_path, fallback='["cpu"]', max_ops_on_cpu="9", latency_p95_ms="9999.0"
    )
    model, bundle, root = (
        MatchedFilters().write(tmp_path / "m.onnx"),
        tmp_path / "pose.epb",
        tmp_path / "root",
    )
    assert edgepose("bundle", model, "--profile", profile, "-o", bundle).returncode == 0
    from edgepose.device.install.installer import install_bundle

    health = install_bundle(bundle, root).health
    assert (health.verified_on, health.accelerator) == ("device", "not_verified")
    status = edgepose("status", "--root", root, "--json", "-")
    backend = json.loads(status.stdout)["backend"]
    assert (backend["delegate_used"], backend["fallback_from"]) == ("cpu", "tensorrt")
    assert "cpu instead of tensorrt" in edgepose("status", "--root", root).stdout
