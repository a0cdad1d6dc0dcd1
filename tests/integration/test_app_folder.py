"""A bundle as a folder for an app: its guide, followed in plain Python, reaches the golden frames."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgepose.cli.install import phone_command as command
from edgepose.errors import ConfigError, DeployError, MissingDependencyError, TrustError
from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.deploy.phone.app_folder import parse_timings, write_app_folder
from edgepose.records.device_profile import find_profile
from edgepose.trust.builtin_models import find_builtin_models

PRINTED = (
    "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the "
    "delegate.\nINFO: count=50 first=14652 curr=14500 min=14220 max=15900 avg=14575.2 std=210\n"
    "INFO: Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, "
    "Inference (avg): 14575.2\n"
)


@pytest.fixture(scope="module", name="bundle")
def _bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bundle") / "pose.epb"
    builtin = find_builtin_models()
    build_bundle(
        BundleRequest(
            model=builtin.path_of("pose", "int8"),
            detector=builtin.path_of("detector", "int8"),
            profile=find_profile("phone"),
            output=output,
        )
    )
    return output


@pytest.fixture(scope="module", name="app")
def _app(bundle: Path) -> Path:
    return write_app_folder(bundle, bundle.parent / "app").folder


def follow_the_guide(app: Path, picture: NDArray[np.uint8], box: list[float], shift: float = 0.0) -> Any:
    """Sections 1 to 3 of the guide; nothing of edgepose's own pipeline."""
    from ai_edge_litert.interpreter import Interpreter

    pose = json.loads((app / "spec.json").read_text())["pose"]
    entry, output = pose["input"], pose["outputs"][0]
    _, height, width, _ = entry["shape"]
    x0, y0, x1, y1 = box
    w, h, aspect = x1 - x0, y1 - y0, width / height
    w, h = (w, w / aspect) if w > h * aspect else (h * aspect, h)
    w, h = w * entry["box_scale"], h * entry["box_scale"]
    left, top = (x0 + x1) / 2 - w / 2 + shift, (y0 + y1) / 2 - h / 2
    columns = (left + np.arange(width) * w / width).astype(np.float32)
    rows = (top + np.arange(height) * h / height).astype(np.float32)
    grid = np.meshgrid(columns, rows)
    crop = cv2.remap(picture, *grid, cv2.INTER_LINEAR, borderValue=(entry["pad_value"],) * 3)
    real = (crop.astype(np.float32) - entry["mean"]) / entry["std"]
    stored = np.clip(np.round(real / entry["scale"]) + entry["zero_point"], -128, 127).astype(np.int8)
    interpreter = Interpreter(str(app / pose["file"]))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], stored[None])
    interpreter.invoke()
    maps = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].astype(np.float32)
    maps = (maps - output["zero_point"]) * output["scale"]
    return np.array([one_keypoint(maps[..., k], (left - shift, top, w, h)) for k in range(maps.shape[2])])


def one_keypoint(cells: NDArray[np.float32], crop: tuple[float, float, float, float]) -> list[float]:
    rows, columns = cells.shape
    y, x = np.unravel_index(int(cells.argmax()), cells.shape)
    dx = dy = 0.0
    if 0 < x < columns - 1 and 0 < y < rows - 1:
        dx = 0.25 * float(np.sign(cells[y, x + 1] - cells[y, x - 1]))
        dy = 0.25 * float(np.sign(cells[y + 1, x] - cells[y - 1, x]))
    left, top, w, h = crop
    return [left + (x + dx) / columns * w, top + (y + dy) / rows * h, float(cells[y, x])]


def oks(found: NDArray[np.float64], frame: dict[str, Any], sigmas: list[float]) -> float:
    """cocoeval.py's formula, over the keypoints that the float parent is sure of."""
    expected = np.array(frame["keypoints"])
    sure = expected[:, 2] > 0.2
    variance = (2 * np.array(sigmas)) ** 2
    distance = np.square(found[:, :2] - expected[:, :2]).sum(axis=1)
    return float(np.exp(-distance / (2 * variance * frame["area_px2"]))[sure].mean())


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (60.0, False)])
def test_the_guide_reaches_the_golden_frames(app: Path, shift: float, passes: bool) -> None:
    golden = json.loads((app / "golden" / "golden.json").read_text())
    reached = []
    for frame in golden["frames"]:
        picture = cv2.cvtColor(cv2.imread(str(app / "golden" / frame["file"])), cv2.COLOR_BGR2RGB)
        found = follow_the_guide(app, picture, frame["box_xyxy_px"], shift)
        reached.append(oks(found, frame, golden["oks_sigmas"]) >= golden["tolerance_oks"])
    # The negative control looks beside the person.
    assert all(reached) if passes else not all(reached)


def test_the_guide_names_the_numbers_of_this_model(app: Path) -> None:
    guide = (app / "README.md").read_text()
    pose = json.loads((app / "spec.json").read_text())["pose"]
    for number in (pose["input"]["scale"], pose["outputs"][0]["scale"]):
        assert f"{number:.9g}" in guide
    _, height, width, _ = pose["input"]["shape"]
    assert f"{width}f / {height}f" in guide
    assert "No phone was at hand" in guide
    assert not re.search(r"\{[a-z_]+\}", guide)


def test_a_folder_that_is_there_and_a_damaged_bundle_are_refused(
    bundle: Path, app: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is already there"):
        write_app_folder(bundle, app)
    damaged = tmp_path / "damaged.epb"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(TrustError):
        write_app_folder(damaged, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [damaged]


def fake_adb(folder: Path, code: int = 0) -> Path:
    """An adb that writes its calls down and answers as benchmark_model does."""
    folder.mkdir()
    log = folder / "calls"
    (folder / "printed").write_text(PRINTED)
    script = folder / "adb"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        f'[ {code} = 0 ] || {{ echo "error: no devices found" >&2; exit {code}; }}\n'
        f'case "$*" in *--graph=*) cat {folder}/printed;; esac\n'
    )
    script.chmod(0o755)
    return log


def call(bundle: Path, *arguments: object) -> Any:
    return CliRunner().invoke(command, [str(word) for word in (bundle, *arguments)])


def test_adb_gets_the_folder_and_the_timings_come_back(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_adb(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program, record = tmp_path / "benchmark_model", tmp_path / "r.json"
    program.write_bytes(b"elf")
    options = ["--push", "--serial", "S1", "--benchmark-model", program, "--json", record]
    done = call(bundle, "-o", tmp_path / "app", *options)
    assert done.exit_code == 0, done.exception
    calls = log.read_text().splitlines()
    assert all(line.startswith("-s S1 ") for line in calls)
    assert f"-s S1 push {tmp_path / 'app'} /data/local/tmp/edgepose" in calls
    timings = json.loads(record.read_text())["timings"]
    assert timings == {
        "init_ms": 5.685, "first_inference_ms": 18.535, "mean_ms": pytest.approx(14.5752),
        "delegate": "XNNPACK, completely",
    }  # fmt: skip


def test_no_phone_and_no_adb_are_told_apart(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_adb(tmp_path / "bin", code=1)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = call(bundle, "-o", tmp_path / "one", "--push").exception
    assert isinstance(found, DeployError)
    assert "no devices found" in str(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(call(bundle, "-o", tmp_path / "two", "--push").exception, MissingDependencyError)


def test_output_without_timings_is_no_measurement() -> None:
    with pytest.raises(DeployError, match="printed no timings"):
        parse_timings("ERROR: Failed to load the model\n")
