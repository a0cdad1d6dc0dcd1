"""`edgepose deploy --profile X` and nothing else: the built-in models, on drawn figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.inspect import inspect_model
from edgepose.records.bundle_manifest import BuiltinFile
from edgepose.trust.builtin_models import find_builtin_models

PROJECT = Path(__file__).resolve().parents[2]
MOST_BYTES = 6 * 2**20
FILES = find_builtin_models().manifest.files


def edgepose(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose", *map(str, arguments)]
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("entry", FILES, ids=[entry.file for entry in FILES])
def test_every_file_is_what_the_manifest_says(entry: BuiltinFile) -> None:
    path = find_builtin_models().path_of(entry.role, entry.precision)
    artifact = open_artifact(path)
    assert artifact.format == ("onnx" if entry.precision == "float32" else "tflite")
    assert artifact.precision == entry.precision
    assert artifact.spec.paradigm == ("top_down" if entry.role == "pose" else "detector")
    assert artifact.lineage is not None
    assert artifact.lineage.parents[0].step == "distil: teacher"
    if entry.precision == "int8":
        assert inspect_model(path).integer_only


def test_they_are_small_and_carry_card_and_terms() -> None:
    folder = find_builtin_models().folder
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(entry.sha256 in card for entry in FILES if entry.role == "pose")
    assert "Leeds Sports Pose" in (folder / "LICENSE-WEIGHTS.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["raspberrypi", "jetson", "coral", "phone"])
def test_a_profile_is_all_that_deploy_needs(alias: str, tmp_path: Path) -> None:
    done = edgepose(tmp_path, "deploy", "--profile", alias, "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the built-in edgepose-s" in done.stderr
    assert "drawn figures" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["precision"] == "int8"
    assert report["gate"]["passed"]
    root = tmp_path / "data" / "edgepose" / "preview"
    assert report["root"] == str(root)
    clip = tmp_path / "clip"
    assert edgepose(tmp_path, "data", "synth", "-o", clip, "--video", 2, "--style", "clear").returncode == 0
    poses = tmp_path / "poses.jsonl"
    (video,) = clip.glob("*.mp4")
    run = edgepose(tmp_path, "run", video, "--root", root, "--output", poses)
    assert run.returncode == 0, run.stderr[-2000:]
    frames = [json.loads(line) for line in poses.read_text().splitlines()]
    assert sum(bool(frame["poses"]) for frame in frames) > len(frames) / 2
