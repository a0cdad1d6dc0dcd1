"""A drawn clip: every frame, the same persons in all of them, and the command that makes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgepose.cli.data import command
from edgepose.errors import ConfigError
from edgepose.host.synthetic.clip import ClipRequest, write_clip
from edgepose.records.record import read_json
from edgepose.records.synthetic_clip import SyntheticClip

REQUEST = ClipRequest(seconds=2.0, fps=8.0, seed=4, size_wh=(160, 120), persons=3)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, REQUEST)
    return folder


def frames_of(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        read, frame = capture.read()
        if not read:
            return frames
        frames.append(frame)


def test_the_video_has_every_frame_of_the_labels(clip: Path) -> None:
    frames, record = frames_of(clip / "clip.mp4"), read_json(clip / "clip.json", SyntheticClip)
    assert len(frames) == len(record.frames) == 16
    assert frames[0].shape == (120, 160, 3)
    assert [frame.frame for frame in record.frames] == list(range(16))
    assert sorted(path.name for path in clip.iterdir()) == ["clip.json", "clip.mp4"]


def test_ids_are_stable_and_motion_is_smooth(clip: Path) -> None:
    record = read_json(clip / "clip.json", SyntheticClip)
    assert all([p.person_id for p in frame.persons] == [0, 1, 2] for frame in record.frames)
    points = np.array([[p.keypoints for p in frame.persons] for frame in record.frames])[..., :2]
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    # Shoulders and hips of somebody 70 px tall at 8 frames a second; a swapped id would be a leap.
    assert steps[..., [5, 6, 11, 12]].max() < 14
    assert np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).max() > 60


def test_two_persons_cross_each_other(clip: Path) -> None:
    record = read_json(clip / "clip.json", SyntheticClip)
    centres = np.array(
        [[np.mean([x for x, _, _ in p.keypoints]) for p in f.persons[:2]] for f in record.frames]
    )
    apart = centres[:, 0] - centres[:, 1]
    assert apart[0] * apart[-1] < 0
    hidden = [sum(v == 1 for _, _, v in frame.persons[1].keypoints) for frame in record.frames]
    assert max(hidden) > min(hidden)


def test_same_seed_gives_the_same_labels_and_pictures(clip: Path, tmp_path: Path) -> None:
    write_clip(tmp_path, REQUEST)
    assert (tmp_path / "clip.json").read_bytes() == (clip / "clip.json").read_bytes()
    for first, second in zip(frames_of(clip / "clip.mp4"), frames_of(tmp_path / "clip.mp4"), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_wh": (161, 120)}, "even width and height"),
        ({"seconds": 0.0}, "at least one frame"),
        ({"seconds": float("nan")}, "at least one frame"),
        ({"seconds": 1e9}, "up to 600 s"),
        ({"fps": -1.0}, "at least one frame"),
    ],
)
def test_a_clip_that_cannot_be_filmed_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    request = replace(REQUEST, **changes)
    with pytest.raises(ConfigError, match=words):
        write_clip(tmp_path / "new", request)
    assert not (tmp_path / "new").exists()


def test_an_old_clip_is_left_alone(clip: Path) -> None:
    before = (clip / "clip.mp4").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        write_clip(clip, REQUEST)
    assert (clip / "clip.mp4").read_bytes() == before


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["synth", *arguments])
    return result.exit_code, result.output


def test_the_command_draws_pictures_and_a_clip(tmp_path: Path) -> None:
    code, output = run(
        "-o", str(tmp_path / "set"), "--count", "2", "--video", "0.5", "--fps", "6", "--size", "96x72",
        "--persons", "1-2", "--json", "-",
    )  # fmt: skip
    report = json.loads(output)
    assert code == 0
    assert (report["schema"], report["pictures"], report["frames"]) == ("edgepose.synthesis/1", 2, 3)
    assert {p.name for p in (tmp_path / "set").iterdir()} == {
        "images", "person_keypoints.json", "manifest.json", "clip.mp4", "clip.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        ("--count", "0"),
        ("--count", "2", "--size", "96"),
        ("--count", "2", "--persons", "4-1"),
        ("--count", "2", "--size", "-3x9"),
    ],
)
def test_wrong_usage_is_named_and_writes_nothing(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    code, output = run("-o", str(tmp_path / "set"), *wrong)
    assert code == 2
    assert wrong[-1] in output
    assert not (tmp_path / "set").exists()


def test_nothing_asked_for_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["synth", "-o", str(tmp_path / "set")])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "set").exists()
