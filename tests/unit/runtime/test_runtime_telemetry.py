"""ONNX Runtime tells nobody that it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.constant_models import write_one_stage
from tests.support.pictures import STANDING

_CODE = """
import sys
{first}
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
# Its telemetry client (1DS) notes its session there, before it looks for its collector.
_SESSION = ".ses"


def _opens_a_session(model: Path, folder: Path, first: str, *before: str) -> bool:
    """Whether the telemetry client was there when a model was opened."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment["TMPDIR"] = str(folder)
    command = [*before, sys.executable, "-c", _CODE.format(first=first), str(model)]
    subprocess.run(command, check=True, env=environment)
    return (folder / _SESSION).exists()


def test_no_telemetry_client_runs_where_edgepose_is_loaded(tmp_path: Path) -> None:
    model = write_one_stage(tmp_path / "m.onnx", [np.array([32, 32]) + STANDING * 40], [0.9])
    assert not _opens_a_session(model, tmp_path / "with", "import edgepose")


def test_without_edgepose_it_runs(tmp_path: Path) -> None:
    """The negative control, where this ONNX Runtime has such a client."""
    model = write_one_stage(tmp_path / "m.onnx", [np.array([32, 32]) + STANDING * 40], [0.9])
    # Without a network: it reaches nobody.
    alone = ("unshare", "--net", "--map-root-user")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    if not _opens_a_session(model, tmp_path / "without", "", *alone):
        pytest.skip("this build of ONNX Runtime has no telemetry client")
