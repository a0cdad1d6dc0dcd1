"""``edgepose run`` and ``edgepose-device run`` from the command line, on models with known answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.constant_models import write_one_stage, write_top_down
from tests.support.pictures import STANDING, write_pictures, write_video
from tests.support.waiting import PATIENCE_S, until

_PROGRAM = [sys.executable, "-m", "edgepose.cli.device_main"]
_PEAKS = np.stack([np.arange(17) % 8 + 4, np.arange(17) // 2 + 3], axis=1)


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*_PROGRAM, "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def _lines(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def one_stage(tmp_path: Path) -> Path:
    """Always sees two persons."""
    persons = [np.array([x, 32]) + STANDING * 40 for x in (16, 48)]
    return write_one_stage(tmp_path / "two.onnx", persons, [0.9, 0.8])


@pytest.fixture
def top_down(tmp_path: Path) -> Path:
    """Always sees one person in its crop."""
    return write_top_down(tmp_path / "one.onnx", _PEAKS)


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    """Always sees one person, with scores below ``min_pose_score``."""
    return write_top_down(tmp_path / "doubtful.onnx", _PEAKS, np.full(17, 0.1))


def test_a_video_gives_a_line_a_frame_a_drawn_video_and_a_summary(one_stage: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=12, fps=10, size_wh=(64, 64))
    poses, drawn, report = tmp_path / "p.jsonl", tmp_path / "o.mp4", tmp_path / "r.json"
    result = _run(video, "--model", one_stage, "--output", poses, "--render", drawn, "--json", report)
    assert result.returncode == 0, result.stderr
    lines = _lines(poses.read_text())
    assert [line["frame"] for line in lines] == list(range(12))
    # What is known about persons is the user's alone, whatever the umask.
    assert {path.stat().st_mode & 0o777 for path in (poses, drawn, report)} == {0o600}
    assert all(sorted(p["track_id"] for p in line["poses"]) == [1, 2] for line in lines)
    assert all(line["dropped_before"] == 0 and line["latency_ms"] > 0 for line in lines)
    times = [line["timestamp_ns"] for line in lines]
    assert times == sorted(times)
    capture = cv2.VideoCapture(str(drawn))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    summary = json.loads(report.read_text())
    assert summary["schema"] == "edgepose.run/1"
    assert (summary["frames"], summary["frames_with_poses"], summary["tracks"]) == (12, 12, 2)
    assert (summary["persons"], summary["dropped"], summary["ended_by"]) == (24, 0, "source")
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]
    assert summary["backend"]["runtime"] == "onnxruntime"


def test_standard_output_carries_only_lines_when_asked_to(top_down: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", 5)
    result = _run(folder, "--model", top_down, "--output", "-")
    assert result.returncode == 0, result.stderr
    assert len(_lines(result.stdout)) == 5
    assert "5 frames" in result.stderr


def test_standard_output_carries_only_the_report_when_asked_to(top_down: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", 2)
    result = _run(folder, "--model", top_down, "--json", "-")
    assert json.loads(result.stdout)["frames"] == 2
    both = _run(folder, "--model", top_down, "--json", "-", "--output", "-")
    assert both.returncode == 2


def test_max_frames_ends_the_run(top_down: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=12)
    result = _run(video, "--model", top_down, "--output", "-", "--max-frames", 4)
    assert len(_lines(result.stdout)) == 4


def test_a_person_below_the_least_score_is_not_reported(
    doubtful: Path, top_down: Path, tmp_path: Path
) -> None:
    folder = write_pictures(tmp_path / "f", 3)
    assert [line["poses"] for line in _lines(_run(folder, "--model", doubtful, "--output", "-").stdout)] == [
        []
    ] * 3
    # Negative control: the same keypoints with good scores are.
    confident = _lines(_run(folder, "--model", top_down, "--output", "-").stdout)
    assert all(len(line["poses"]) == 1 for line in confident)


def test_a_followed_person_is_looked_at_more_closely_from_the_second_frame_on(
    top_down: Path, tmp_path: Path
) -> None:
    lines = _lines(_run(write_pictures(tmp_path / "f", 3), "--model", top_down, "--output", "-").stdout)
    widths = [line["poses"][0]["box_xyxy_px"] for line in lines]
    assert widths[0] == [0, 0, 96, 64]
    assert widths[1] != widths[0]


def test_a_doubtful_person_makes_the_model_look_at_the_whole_picture_again(
    doubtful: Path, tmp_path: Path
) -> None:
    from edgepose.device.run.frame_estimator import FrameEstimator
    from edgepose.runtime.open_model import open_pipeline

    estimator = FrameEstimator(open_pipeline(doubtful))
    image = np.zeros((64, 96, 3), np.uint8)
    for _ in range(2):
        assert len(estimator.estimate(image)) == 0
        assert estimator._box is None


def _start_endless(model: Path, tmp_path: Path) -> tuple[subprocess.Popen[bytes], Path, Path]:
    """A run that would take minutes, after its first lines."""
    video = write_video(tmp_path / "v.mp4", frames=4000, size_wh=(640, 480))
    poses, drawn = tmp_path / "p.jsonl", tmp_path / "o.mp4"
    command = [*_PROGRAM, "run", video, "--model", model, "--output", poses, "--render", drawn]
    process = subprocess.Popen(
        [os.fspath(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )

    def has_begun() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return poses.exists() and poses.read_bytes().count(b"\n") > 5

    until(has_begun, "the first lines")
    return process, poses, drawn


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_run_with_whole_files(top_down: Path, tmp_path: Path, number: int) -> None:
    process, poses, drawn = _start_endless(top_down, tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    count = len(_lines(poses.read_text()))
    assert 5 < count < 4000
    assert int(cv2.VideoCapture(str(drawn)).get(cv2.CAP_PROP_FRAME_COUNT)) == count


@pytest.mark.slow
@pytest.mark.timing
def test_a_kill_leaves_whole_lines_and_no_half_video(top_down: Path, tmp_path: Path) -> None:
    process, poses, drawn = _start_endless(top_down, tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert len(_lines(poses.read_text())) > 5
    assert not drawn.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["none.mp4", "--model", "MODEL"], 3, "does not exist"),
        (["http://x/a.mp4", "--model", "MODEL"], 3, "unknown scheme"),
        (["63", "--model", "MODEL"], 9, "There is no camera"),
        (["VIDEO", "--model", "VIDEO"], 5, "no model that edgepose knows"),
        (["VIDEO", "--model", "MODEL", "--root", "."], 3, "Only one of --model, --root"),
        (["VIDEO", "--spec", "x.toml"], 3, "--spec describes a --model"),
        (["VIDEO", "--model", "MODEL", "--output", "MODEL"], 3, "is there already"),
        (["VIDEO", "--model", "MODEL", "--render", "VIDEO"], 3, "is there already"),
        (["VIDEO", "--model", "MODEL", "--force", "--output", "MODEL"], 3, "also an input"),
        (["VIDEO", "--model", "MODEL", "--force", "--render", "VIDEO"], 3, "also an input"),
        (
            ["VIDEO", "--model", "MODEL", "--output", "x", "--render", "x"],
            3,
            "also an input or another output",
        ),
        (["VIDEO", "--model", "MODEL", "--json", "MODEL"], 2, "must end in .json"),
        (["VIDEO", "--root", "EMPTY"], 3, "Nothing is installed"),
        (["VIDEO", "--bundle", "MODEL"], 7, "is refused"),
    ],
)
def test_mistakes_end_with_their_exit_code_and_change_nothing(
    top_down: Path, tmp_path: Path, arguments: list[str], code: int, reason: str
) -> None:
    video = write_video(tmp_path / "v.mp4", frames=2)
    named = {"MODEL": str(top_down), "VIDEO": str(video), "EMPTY": str(tmp_path / "empty")}
    before = top_down.read_bytes(), video.read_bytes()
    result = _run(*[named.get(argument, argument) for argument in arguments])
    assert result.returncode == code, result.stderr
    assert reason in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert (top_down.read_bytes(), video.read_bytes()) == before


def test_the_device_program_reaches_no_host_code_and_no_framework() -> None:
    code = (
        "import sys\n"
        "import edgepose.cli.device_main as main\n"
        "for module, _ in main._COMMANDS.values(): __import__(module.partition(':')[0])\n"
        "import edgepose.device.run.loop, edgepose.device.install.health\n"
        "import edgepose.device.install.installer\n"
        "import edgepose.cli.device_install, edgepose.cli.status, edgepose.cli.bundle\n"
        "heavy = ('tensorflow', 'torch', 'onnx', 'keras', 'onnxruntime', 'ai_edge_quantizer', 'rich')\n"
        "bad = [m for m in sys.modules if m.startswith('edgepose.host') or m.split('.')[0] in heavy]\n"
        "print(bad)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
