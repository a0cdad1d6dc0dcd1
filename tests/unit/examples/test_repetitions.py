"""The example that counts repetitions, on figures that bend as often as is known."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.repetitions import angle_deg, bend_deg, count

_PROJECT = Path(__file__).resolve().parents[3]
_BUILTIN = _PROJECT / "builtin_models"


def person(
    knee_deg: float, track: int = 1, score: float = 0.9, trembling_px: float = 0.0
) -> dict[str, object]:
    """Somebody whose two knees have this angle."""
    rng = np.random.default_rng(int(knee_deg * 1000) + track)
    keypoints = [[100.0, 100.0, score] for _ in range(17)]
    turn = math.radians(knee_deg)
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        keypoints[knee][:2] = [200.0, 200.0]
        keypoints[hip][:2] = [200.0, 130.0]
        keypoints[ankle][:2] = [200.0 + 70 * math.sin(turn), 200.0 - 70 * math.cos(turn)]
    for keypoint in keypoints:
        keypoint[:2] = (np.asarray(keypoint[:2]) + rng.normal(0, trembling_px, 2)).tolist()
    return {"track_id": track, "keypoints": keypoints}


def line(frame: int, *persons: dict[str, object], skeleton: str = "coco17") -> str:
    record = {"schema": "edgepose.poses/1", "frame": frame, "skeleton": skeleton, "poses": persons}
    return json.dumps(record)


def squats(times: int, lowest_deg: float = 80.0) -> list[float]:
    """Knee angles of so many squats of 20 frames."""
    phases = np.arange(20 * times + 1) / 20 * 2 * np.pi
    return list(175 - (175 - lowest_deg) * (1 - np.cos(phases)) / 2)


def counted(lines: list[str]) -> dict[int, int]:
    return {track: len(counter.deepest_deg) for track, counter in count(lines, "knee", 110, 150).items()}


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 135.0, 180.0])
@pytest.mark.parametrize("turned", range(0, 360, 45))
def test_an_angle_is_the_same_however_the_picture_is_turned(degrees: float, turned: int) -> None:
    def end(at: float) -> list[float]:
        return [5 + 3 * math.cos(math.radians(at)), 7 + 3 * math.sin(math.radians(at))]

    assert angle_deg(end(turned), [5.0, 7.0], end(turned + degrees)) == pytest.approx(degrees, abs=1e-6)


def test_squats_are_counted_also_with_trembling_keypoints() -> None:
    lines = [line(i, person(angle, trembling_px=1.5)) for i, angle in enumerate(squats(5))]
    assert counted(lines) == {1: 5}


def test_half_squats_and_standing_count_nothing() -> None:
    shallow = [line(i, person(angle)) for i, angle in enumerate(squats(5, lowest_deg=125))]
    assert counted(shallow) == {1: 0}
    # Trembling about one threshold is no repetition either.
    assert counted([line(i, person(108 if i % 2 else 112)) for i in range(50)]) == {1: 0}


def test_persons_are_counted_apart() -> None:
    first, second = squats(4), squats(2)
    lines = [
        line(i, person(first[i]), *([person(second[i], track=2)] if i < len(second) else []))
        for i in range(len(first))
    ]
    assert counted(lines) == {1: 4, 2: 2}


def test_knees_that_are_not_seen_give_no_angle_and_lose_no_repetition() -> None:
    assert bend_deg(person(90, score=0.1)["keypoints"], "knee") is None  # type: ignore[arg-type]
    lines = [line(i, person(a, score=0.1 if i % 3 == 0 else 0.9)) for i, a in enumerate(squats(3))]
    assert counted(lines) == {1: 3}


def test_lines_of_another_skeleton_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"expected edgepose\.poses/1 of skeleton coco17"):
        counted([line(0, person(90), skeleton="mpii16")])


def test_it_reads_a_pipe(tmp_path: Path) -> None:
    lines = "\n".join(line(i, person(angle)) for i, angle in enumerate(squats(3)))
    done = subprocess.run(
        [sys.executable, _PROJECT / "examples" / "repetitions.py"],
        input=lines, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("person 1: 3 repetitions\n")


@pytest.mark.shared_data
def test_squats_of_a_real_person_are_counted_with_the_built_in_models(
    shared_data: Path, tmp_path: Path
) -> None:
    """The video holds three; it ends before the third has stood up again."""
    poses = tmp_path / "poses.jsonl"
    models = [
        "--model",
        _BUILTIN / "edgepose-s_int8.tflite",
        "--detector",
        _BUILTIN / "edgepose-d_int8.tflite",
    ]
    video = shared_data / "video" / "tfjs_pose_squats.mp4"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", video, *models, "--output", poses]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    assert counted(poses.read_text().splitlines()) == {1: 2}
