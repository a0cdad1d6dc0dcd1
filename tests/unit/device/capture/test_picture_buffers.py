"""Memory is used again, never while somebody looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgepose.device.capture.file_sources import VideoSource
from edgepose.device.capture.frame_source import ImageBuffers
from tests.support.pictures import write_video

_SHAPE = (4, 6, 3)


def test_a_picture_that_is_held_is_never_handed_out_again() -> None:
    buffers = ImageBuffers()
    held = [buffers.take(_SHAPE) for _ in range(5)]
    assert len({id(picture) for picture in held}) == 5


def test_a_picture_that_nobody_holds_is_used_again() -> None:
    buffers = ImageBuffers()
    first = id(buffers.take(_SHAPE))
    assert {id(buffers.take(_SHAPE)) for _ in range(5)} == {first}


def test_a_view_holds_its_picture() -> None:
    buffers = ImageBuffers()
    corner = buffers.take(_SHAPE)[:2, :2]
    assert not np.shares_memory(buffers.take(_SHAPE), corner)


def test_another_size_starts_anew() -> None:
    buffers = ImageBuffers()
    held = buffers.take(_SHAPE)
    assert buffers.take((8, 8, 3)).shape == (8, 8, 3)
    assert buffers.take(_SHAPE) is not held


def test_frames_of_a_video_stay_as_they_are_while_they_are_held(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "v.mp4", frames=8))
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append((frame, int(frame.image.mean())))
    assert [int(frame.image.mean()) for frame, _ in frames] == [level for _, level in frames]
    assert len({level for _, level in frames}) == 8
