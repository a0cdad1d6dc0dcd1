"""A drawn video that is whole or not there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.device.output.video_sink import FPS_WITHOUT_RATE, VideoSink, fitted
from edgepose.errors import ConfigError
from tests.support.pictures import level_picture, persons_at, result_of


def _facts(path: Path) -> tuple[int, float, tuple[int, int]]:
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return frames, capture.get(cv2.CAP_PROP_FPS), size


def test_the_video_has_the_sources_frames_rate_and_size(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4", 12.5)
    for index in range(7):
        sink.write(result_of(persons_at([(160, 120)]), index))
        assert not (tmp_path / "o.mp4").exists()
    sink.close(complete=True)
    sink.close(complete=True)
    assert _facts(tmp_path / "o.mp4") == (7, 12.5, (320, 240))
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]


def test_a_failed_run_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "o.mp4").write_bytes(b"the video of yesterday")
    sink = VideoSink(tmp_path / "o.mp4", 10)
    sink.write(result_of(persons_at([(160, 120)])))
    sink.close(complete=False)
    assert (tmp_path / "o.mp4").read_bytes() == b"the video of yesterday"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_without_a_frame_writes_no_video(tmp_path: Path) -> None:
    VideoSink(tmp_path / "o.mp4", 10).close(complete=True)
    assert not list(tmp_path.iterdir())


def test_the_name_on_the_command_line_decides_not_its_suffix(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "drawn", 10)
    sink.write(result_of(persons_at([(160, 120)])))
    sink.close(complete=True)
    assert _facts(tmp_path / "drawn")[0] == 1


def test_pictures_of_other_sizes_are_fitted_into_the_firsts(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4", None)
    for index, size_wh in enumerate([(321, 240), (100, 400), (640, 480)]):
        sink.write(result_of(persons_at([(60, 60)]), index, size_wh))
    sink.close(complete=True)
    assert _facts(tmp_path / "o.mp4") == (3, FPS_WITHOUT_RATE, (322, 240))


def test_fitting_keeps_the_aspect_and_pads_with_black() -> None:
    out = fitted(level_picture(200, (100, 50)), (100, 100))
    assert (out[25:75] == 200).all()
    assert (out[:25] == 0).all()
    assert (out[75:] == 0).all()
    same = level_picture(3, (10, 10))
    assert np.shares_memory(fitted(same, (10, 10)), same)


def test_a_folder_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        VideoSink(tmp_path / "none" / "o.mp4", 10)
