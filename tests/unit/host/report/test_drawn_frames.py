"""Pictures of the page: spread over the video, drawn on, and of the very video that the poses are about."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgepose.cli.report import command, draw_request
from edgepose.device.output.pose_sink import JsonlSink
from edgepose.errors import ConfigError
from edgepose.host.report.drawn_frames import draw_frames, read_poses_log
from edgepose.host.report.inputs import DrawnFrames
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from tests.support.pictures import persons_at, result_of, write_pictures, write_video
from tests.support.report_page import Page

SIZE_WH = (320, 240)


def write_poses(path: Path, persons: list[int], size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """So many persons in each frame, by the sink that ``run`` uses."""
    sink = JsonlSink(path)
    for index, count in enumerate(persons):
        poses = persons_at([(80.0 + 70 * i, 120.0) for i in range(count)]) if count else Poses.empty(COCO17)
        sink.write(result_of(poses, index, size_wh))
    sink.close(complete=True)
    return path


def drawn_frames(video: Path, poses: Path) -> DrawnFrames:
    return draw_frames(draw_request(video, poses))


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_six_frames_are_spread_evenly_over_those_with_poses(tmp_path: Path) -> None:
    persons = [0] * 5 + [1] * 11 + [0] * 4
    found = drawn_frames(
        write_video(tmp_path / "v.mp4", 20, size_wh=SIZE_WH), write_poses(tmp_path / "p", persons)
    )
    assert (found.frames, found.frames_with_poses) == (20, 11)
    assert [picture.frame for picture in found.shown] == [5, 7, 9, 11, 13, 15]
    # Frame i has brightness 10 + 5 i, which the corner without a person still shows.
    levels = [float(decoded(picture.jpeg)[:20, -20:].mean()) for picture in found.shown]
    assert levels == pytest.approx([35, 45, 55, 65, 75, 85], abs=4)


def test_skeletons_are_drawn_on(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 2, size_wh=SIZE_WH)
    drawn = decoded(drawn_frames(video, write_poses(tmp_path / "p", [1, 0])).shown[0].jpeg)
    assert drawn.max() > 200
    assert drawn[:, 240:].max() < 60


def test_a_folder_of_pictures_is_a_source_too_and_large_ones_are_made_smaller(tmp_path: Path) -> None:
    size_wh = (1600, 1200)
    folder = write_pictures(tmp_path / "f", 2, size_wh)
    found = drawn_frames(folder, write_poses(tmp_path / "p", [2, 2], size_wh))
    assert [(p.size_wh, p.persons) for p in found.shown] == [((640, 480), 2)] * 2
    assert decoded(found.shown[0].jpeg).shape == (480, 640, 3)


def test_pictures_stand_in_the_page_with_words_for_those_who_do_not_see_them(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip <b>.mp4", 3, size_wh=SIZE_WH)
    poses, target = write_poses(tmp_path / "p.jsonl", [1, 0, 2]), tmp_path / "report.html"
    call = ["--poses", str(poses), "--video", str(video), "-o", str(target)]
    result = CliRunner().invoke(command, call)
    assert result.exit_code == 0, result.exception
    page = Page(target.read_text(encoding="utf-8"))
    assert page.headings == ["What it sees", "Records"]
    assert [image["alt"] for image in page.of("img")] == [
        "Frame 0 with the skeletons of 1 person", "Frame 2 with the skeletons of 2 persons",
    ]  # fmt: skip
    head, _, data = (page.of("img")[0]["src"] or "").partition(",")
    assert head == "data:image/jpeg;base64"
    assert decoded(base64.b64decode(data)).shape == (240, 320, 3)
    assert "clip <b>.mp4: somebody was found in 2 of 3 frames (p.jsonl)." in page.words


def test_a_video_of_nobody_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 2, size_wh=SIZE_WH)
    assert drawn_frames(video, write_poses(tmp_path / "p", [0, 0])).shown == ()
    assert drawn_frames(video, write_poses(tmp_path / "empty", [])).frames == 0


def test_poses_of_another_video_are_refused(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 2, size_wh=SIZE_WH)
    with pytest.raises(ConfigError, match=r"tells about frame 4, which .*v\.mp4 does not have"):
        drawn_frames(video, write_poses(tmp_path / "long", [0, 0, 0, 0, 1]))
    with pytest.raises(ConfigError, match="expected a picture of 640x480, found 320x240"):
        drawn_frames(video, write_poses(tmp_path / "large", [1], (640, 480)))


@pytest.mark.parametrize("damage", ["{", '{"schema":"edgepose.poses/2"}', "[]"])
def test_a_line_that_is_no_frame_is_refused_with_its_number(tmp_path: Path, damage: str) -> None:
    poses = write_poses(tmp_path / "p", [1])
    poses.write_text(poses.read_text() + damage + "\n")
    with pytest.raises(ConfigError, match=r"p, line 2, is no frame of edgepose\.poses/1"):
        drawn_frames(write_video(tmp_path / "v.mp4", 2, size_wh=SIZE_WH), poses)


def test_another_number_of_keypoints_is_refused(tmp_path: Path) -> None:
    poses = write_poses(tmp_path / "p", [1])
    poses.write_text(poses.read_text().replace("coco17", "mpii16"))
    with pytest.raises(ConfigError, match="expected 16 keypoints of mpii16"):
        drawn_frames(write_video(tmp_path / "v.mp4", 1, size_wh=SIZE_WH), poses)


_PEAK_OF_READING = """
import resource, sys
from pathlib import Path
from edgepose.host.report.drawn_frames import read_poses_log

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak_mib()
log = read_poses_log(Path(sys.argv[1]), 6)
print(log.frames, log.posed, *(line.frame for line in log.chosen), peak_mib() - before)
"""


def test_a_long_log_takes_no_memory_but_where_its_lines_begin(tmp_path: Path) -> None:
    poses, lines = write_poses(tmp_path / "p", [1]), 40_000
    head, _, rest = poses.read_text().partition('"frame":0')
    with poses.open("w") as file:
        file.writelines(f'{head}"frame":{number}{rest}' for number in range(lines))
    assert poses.stat().st_size > 20 << 20
    call = [sys.executable, "-c", _PEAK_OF_READING, str(poses)]
    said = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    assert said[:-1] == ["40000", "40000", "0", "8000", "16000", "23999", "31999", "39999"]
    assert float(said[-1]) < 8


def test_the_last_line_of_a_frame_counts_wherever_it_stands(tmp_path: Path) -> None:
    poses = write_poses(tmp_path / "p", [1, 0, 2])
    first, second, third = poses.read_text().splitlines(keepends=True)
    again = third.replace('"frame":2', '"frame":0')
    poses.write_text(third + first + "\n" + second + again)
    log = read_poses_log(poses, 6)
    assert (log.frames, log.posed) == (4, 2)
    assert [(line.frame, len(line.poses)) for line in log.chosen] == [(0, 2), (2, 2)]


@pytest.mark.parametrize("text", [b"\xff\n", b'{"a":"\xff"}\n', b"x" * (17 << 20)])
def test_what_is_no_text_and_a_line_without_end_are_refused(tmp_path: Path, text: bytes) -> None:
    poses = tmp_path / "p"
    poses.write_bytes(text)
    with pytest.raises(ConfigError, match=r"p, line 1, is no frame of edgepose\.poses/1"):
        read_poses_log(poses, 6)
