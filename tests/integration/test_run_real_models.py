"""``run`` on real videos and images with real models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.pose.similarity import oks_between
from edgepose.pose.skeletons import COCO17

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


def _run(shared_data: Path, source: Path, *arguments: object) -> list[dict[str, Any]]:
    model = shared_data / "models/tinypose_256x192.onnx"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", source, "--model", model]
    command += ["--spec", "tinypose_256x192", "--output", "-", *map(str, arguments)]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def _person(line: dict[str, Any]) -> np.ndarray:
    (person,) = line["poses"]
    return np.array(person["keypoints"])


def test_the_squatting_person_is_followed_through_every_frame(shared_data: Path) -> None:
    video = shared_data / "video/tfjs_pose_squats.mp4"
    followed = _run(shared_data, video)
    assert len(followed) == 65
    assert {p["track_id"] for line in followed for p in line["poses"]} == {1}
    detected = _run(shared_data, video, "--detector", shared_data / "models/yolox_nano.onnx")
    # A detector finds the same person independently, so both must agree where the person is.
    agreement = []
    for line, other in zip(followed, detected, strict=True):
        own = _person(line)
        rivals = [np.array(person["keypoints"]) for person in other["poses"]]
        area = float(np.prod(np.ptp(own[:, :2], axis=0)))
        agreement += [max(oks_between(own[:, :2], r[:, :2], area, COCO17.sigmas) for r in rivals)]
    assert np.mean(agreement) > 0.95
    assert np.min(agreement) > 0.8


def test_nobody_is_reported_in_pictures_without_a_person(shared_data: Path) -> None:
    detector = shared_data / "models/yolox_nano.onnx"
    lines = _run(shared_data, shared_data / "no_person", "--detector", detector)
    assert len(lines) == 60
    assert sum(not line["poses"] for line in lines) >= 55


def test_somebody_is_reported_in_pictures_with_persons(shared_data: Path) -> None:
    """The negative control of the test above."""
    detector = shared_data / "models/yolox_nano.onnx"
    lines = _run(shared_data, shared_data / "coco_val/images", "--detector", detector)
    assert sum(bool(line["poses"]) for line in lines) >= 80


def test_nobody_is_reported_in_a_black_picture(shared_data: Path, tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((480, 640, 3), np.uint8))
    (line,) = _run(shared_data, tmp_path / "black.png")
    assert line["poses"] == []
