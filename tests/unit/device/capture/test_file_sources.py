"""Videos and folders: every frame, in order, and damage named in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.device.capture.frame_source import FrameSource
from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import parse_source
from edgepose.errors import ConfigError
from tests.support.pictures import SIZE_WH, write_pictures, write_video


def _levels(source: FrameSource) -> list[float]:
    """The brightness of every frame; reading checks what each frame says about itself."""
    levels, last_ns = [], 0
    while not source.ended:
        frame = source.read(1.0)
        if frame is None:
            continue
        assert frame.index == len(levels)
        assert frame.dropped_before == 0
        assert frame.image.dtype == np.uint8
        assert frame.timestamp_ns >= last_ns
        last_ns = frame.timestamp_ns
        levels.append(float(frame.image.mean()))
    source.close()
    source.close()
    return levels


def _open(path: Path) -> FrameSource:
    return open_source(parse_source(str(path)))


def test_a_video_gives_every_frame_once_and_in_order(tmp_path: Path) -> None:
    source = _open(write_video(tmp_path / "v.mp4", frames=23, fps=12.5))
    assert source.info.frame_count == 23
    assert source.info.fps == pytest.approx(12.5)
    assert not source.info.live
    levels = np.array(_levels(source))
    assert len(levels) == 23
    # Brightness rises by 5 a frame; encoding moves it by a little more than 1. Repeated: 0, left out: 10.
    assert np.abs(np.diff(levels) - 5).max() < 2.5


def test_a_video_is_known_by_its_content_not_its_suffix(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=3).rename(tmp_path / "recording")
    assert len(_levels(_open(path))) == 3


def test_colours_are_rgb(tmp_path: Path) -> None:
    import cv2

    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 2] = 200  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "red.png"), picture)
    source = _open(tmp_path / "red.png")
    assert source.info.frame_count == 1
    frame = source.read(1.0)
    assert frame is not None
    assert frame.image[0, 0].tolist() == [200, 0, 0]


def test_a_folder_gives_every_picture_in_the_order_of_names(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", 12)
    (folder / "notes.txt").write_text("no picture")
    source = _open(folder)
    assert source.info.frame_count == 12
    assert _levels(source) == list(range(10, 22))


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", 3)
    (folder / "001.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match=r"001\.png is not a readable image"):
        _levels(_open(folder))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no image"):
        _open(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"no video at all" * 100, "not a readable video"), (None, "does not exist")],
)
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        _open(path)


def test_a_video_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mp4", frames=30).read_bytes()
    (tmp_path / "v.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="not a readable video"):
        _open(tmp_path / "v.mp4")


def test_a_video_that_was_cut_off_ends_with_an_error(tmp_path: Path) -> None:
    """An AVI file has its header in front, so a truncated one opens and then runs out of frames."""
    whole = write_video(tmp_path / "v.avi", frames=40).read_bytes()
    assert len(_levels(_open(tmp_path / "v.avi"))) == 40
    (tmp_path / "v.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"ends after \d+ of 40 frames"):
        _levels(_open(tmp_path / "v.avi"))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "frames"), [("tfjs_pose_squats.mp4", 65), ("mmdeploy_arm_wrestling.mp4", 280)]
)
def test_real_videos_give_every_frame(shared_data: Path, name: str, frames: int) -> None:
    assert len(_levels(_open(shared_data / "video" / name))) == frames


def test_the_picture_size_is_the_videos(tmp_path: Path) -> None:
    frame = _open(write_video(tmp_path / "v.mp4", frames=1)).read(1.0)
    assert frame is not None
    assert frame.size_wh == SIZE_WH
