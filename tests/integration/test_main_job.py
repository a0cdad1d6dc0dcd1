"""The main job on real input: TinyPose-256 becomes a verified bundle, is installed, and runs.

Everything goes through the command line, as users and their scripts do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_between
from edgepose.pose.skeletons import COCO17

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.xdist_group("main_job"),
]


def edgepose(*arguments: object, program: str = "edgepose.cli.main") -> subprocess.CompletedProcess[str]:
    """Runs the program as a user does."""
    call = [sys.executable, "-c", f"from {program} import main; main()", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def labels(shared_data: Path) -> list[object]:
    folder = shared_data / "coco_val"
    return ["--annotations", folder / "person_keypoints.json", "--images", folder / "images"]


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Path:
    return shared_data / "models" / "tinypose_256x192.onnx"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, source: Path, labels: list[object]) -> Path:
    """A device root with the float16 bundle, deployed in one command from the float ONNX file."""
    place = tmp_path_factory.mktemp("device") / "root"
    done = edgepose(
        "deploy", "--profile", "raspberrypi5", "--model", source, "--spec", "tinypose_256x192",
        "--precision", "float16", "--root", place, *labels,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def _poses(video: Path, output: Path, *arguments: object) -> list[dict[str, object]]:
    done = edgepose("run", video, "--output", output, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_float16_is_deployed_and_status_tells_the_truth_about_a_preview(root: Path) -> None:
    status = json.loads(edgepose("status", "--root", root, "--json", "-").stdout)
    assert (status["bundle_version"], status["verified_on"]) == (1, "host")
    assert status["sandbox"]["enforced"] is False


def test_installed_bundle_agrees_with_the_float_model_on_the_squat_video(
    root: Path, source: Path, shared_data: Path, tmp_path: Path
) -> None:
    video = shared_data / "video" / "tfjs_pose_squats.mp4"
    shipped = _poses(video, tmp_path / "shipped.jsonl", "--root", root)
    expected = _poses(video, tmp_path / "float.jsonl", "--model", source, "--spec", "tinypose_256x192")
    similarities = [_oks(a, b) for a, b in zip(shipped, expected, strict=True)]
    assert len(similarities) == 65
    assert np.mean(np.array(similarities) >= 0.9) >= 0.95


def _oks(first: dict[str, object], second: dict[str, object]) -> float:
    a, b = (np.array(frame["poses"][0]["keypoints"])[:, :2] for frame in (first, second))  # type: ignore[index]
    area = float(np.prod(np.ptp(b, axis=0))) * BOX_TO_MASK_AREA
    return oks_between(a, b, area, COCO17.sigmas)


def test_nobody_is_reported_on_a_black_frame(root: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((480, 640, 3), np.uint8))
    frames = _poses(tmp_path / "black.png", tmp_path / "poses.jsonl", "--root", root)
    assert [frame["poses"] for frame in frames] == [[]]


def test_detector_finds_nobody_in_most_pictures_without_a_person(
    root: Path, shared_data: Path, tmp_path: Path
) -> None:
    detector = shared_data / "models" / "yolox_nano.onnx"
    folder = shared_data / "no_person"
    frames = _poses(folder, tmp_path / "poses.jsonl", "--root", root, "--detector", detector)
    assert len(frames) == 60
    assert sum(not frame["poses"] for frame in frames) >= 55


def test_overlay_video_has_every_frame(root: Path, shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video" / "tfjs_pose_squats.mp4"
    done = edgepose("run", video, "--root", root, "--render", tmp_path / "overlay.mp4", "--max-frames", 10)
    assert done.returncode == 0, done.stderr
    rendered = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert int(rendered.get(cv2.CAP_PROP_FRAME_COUNT)) == 10


def test_plain_int8_is_stopped_by_the_gate_and_the_root_stays_as_it_was(
    root: Path, shared_data: Path, source: Path, labels: list[object], tmp_path: Path
) -> None:
    converted = tmp_path / "float.tflite"
    done = edgepose("convert", source, "--to", "tflite", "--spec", "tinypose_256x192", "-o", converted)
    assert done.returncode == 0, done.stderr
    before = _tree(root)
    done = edgepose(
        "deploy", "--profile", "raspberrypi5", "--model", converted, "--recipe", "static_wi8_ai8",
        "--calibration", shared_data / "coco_train", "--root", root, *labels,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    for named in ("AP changes by -", "95 % interval", "Slices over their budget", "Worst tensors"):
        assert named in done.stderr
    assert _tree(root) == before


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
