"""A real detector every few frames, real keypoints between, on figures whose place is known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.runtime.open_model import open_detector, open_pipeline
from tests.support.marker_scene import marker_scene
from tests.support.pictures import write_video

_SHIFTS_PX = [3 * (index if index < 8 else 16 - index) for index in range(17)]


class _Counted(FrameEstimator):
    """Notes the frames at which the detector is asked."""

    asked: list[int]

    def look(self, frames: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.asked, found = [], []
        for index, frame in enumerate(frames):
            found.append(self.estimate(frame).keypoints_px)
            if self.timer.elapsed_ns["detect"]:
                self.asked.append(index)
        return found


@pytest.fixture
def estimator(
    marker_onnx: Path, marker_spec: Path, marker_detector_onnx: Path, marker_detector_spec: Path
) -> _Counted:
    """The marker models, as ``run --detector`` opens them."""
    return _Counted(
        open_pipeline(marker_onnx, marker_spec), open_detector(marker_detector_onnx, marker_detector_spec)
    )


def _shifted(image: NDArray[np.uint8], shift_px: int) -> NDArray[np.uint8]:
    matrix = np.array([[1.0, 0, shift_px], [0, 1, 0]])
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _worst_px(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Of the keypoints' median distances, a figure each, in any order."""
    distances = np.linalg.norm(found[:, None] - truth[None], axis=-1)
    return float(np.median(distances, axis=-1).min(axis=0).max())


def test_moving_persons_are_followed_with_a_detector_at_every_fifth_frame(estimator: _Counted) -> None:
    scene = marker_scene(5, persons=2)
    estimator.detect_every = 5
    found = estimator.look([_shifted(scene.image, shift) for shift in _SHIFTS_PX])
    assert estimator.asked == [0, 5, 10, 15]
    for keypoints, shift in zip(found, _SHIFTS_PX, strict=True):
        assert len(keypoints) == 2
        assert _worst_px(keypoints, scene.keypoints_px + np.array([shift, 0], np.float32)) < 3


def test_a_new_person_is_found_at_the_next_detection_and_a_lost_one_is_dropped(estimator: _Counted) -> None:
    scene = marker_scene(5, persons=2)
    one = scene.image.copy()
    one[:, 160:] = 50
    estimator.detect_every = 4
    found = estimator.look([one] * 2 + [scene.image] * 4 + [one] * 3)
    assert [len(keypoints) for keypoints in found] == [1, 1, 1, 1, 2, 2, 1, 1, 1]
    # The loss in frame 6 asks the detector in frame 7, and the count begins there.
    assert estimator.asked == [0, 4, 7]


def test_with_a_detector_at_every_frame_nothing_is_remembered(estimator: _Counted) -> None:
    """The negative control: unrelated pictures have nothing to do with each other."""
    scene = marker_scene(5, persons=2)
    blank = np.full_like(scene.image, 50)
    found = estimator.look([scene.image, blank, scene.image])
    assert [len(keypoints) for keypoints in found] == [2, 0, 2]
    assert estimator.asked == [0, 1, 2]


def _run(source: Path, model: Path, tmp_path: Path, *options: str) -> list[dict[str, object]]:
    output = tmp_path / "p.jsonl"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", source, "--model", model]
    result = subprocess.run(
        [*map(str, command), "--output", str(output), "--force", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_smoothing_is_on_for_videos_off_for_folders_and_can_be_chosen(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path
) -> None:
    scene = marker_scene(5)
    writer = cv2.VideoWriter(
        str(tmp_path / "v.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 10, (320, 240)
    )
    folder = tmp_path / "f"
    folder.mkdir()
    for index in range(4):
        picture = cv2.cvtColor(_shifted(scene.image, index % 2), cv2.COLOR_RGB2BGR)
        writer.write(picture)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    writer.release()

    def nose_x(source: Path, *options: str) -> list[float]:
        lines = _run(source, marker_onnx, tmp_path, "--spec", str(marker_spec), *options)
        return [line["poses"][0]["keypoints"][0][0] for line in lines]  # type: ignore[index]

    plain = nose_x(tmp_path / "v.avi", "--no-smoothing")
    assert np.ptp(nose_x(tmp_path / "v.avi")) < 0.7 * np.ptp(plain)
    assert nose_x(folder) == plain
    assert np.ptp(nose_x(folder, "--smoothing")) < 0.7 * np.ptp(plain)


def test_detect_every_is_a_number_of_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=2)
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", video, "--detect-every", "0"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--detect-every" in result.stderr
