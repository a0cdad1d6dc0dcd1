"""Small videos, folders of pictures and poses for tests of the device side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.frame_source import Frame
from edgepose.device.output.pose_sink import FrameResult
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17

SIZE_WH = (96, 64)
# A standing person in units of its own height: x, y of the COCO-17 keypoints about the hip's centre.
STANDING = np.array(
    [
        (0.0, -0.45),
        (0.03, -0.48),
        (-0.03, -0.48),
        (0.06, -0.46),
        (-0.06, -0.46),
        (0.12, -0.32),
        (-0.12, -0.32),
        (0.16, -0.16),
        (-0.16, -0.16),
        (0.18, 0.0),
        (-0.18, 0.0),
        (0.08, 0.0),
        (-0.08, 0.0),
        (0.08, 0.24),
        (-0.08, 0.24),
        (0.08, 0.48),
        (-0.08, 0.48),
    ]
)


def level_picture(level: int, size_wh: tuple[int, int] = SIZE_WH) -> NDArray[np.uint8]:
    """A picture whose brightness says which frame it is."""
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def write_video(path: Path, frames: int, fps: float = 10.0, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """A video whose frame i has brightness 10 + 5 i."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    assert writer.isOpened()
    for index in range(frames):
        writer.write(level_picture(min(10 + 5 * index, 255), size_wh))
    writer.release()
    return path


def write_pictures(folder: Path, count: int, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """A folder of PNG files."""
    folder.mkdir()
    for index in range(count):
        assert cv2.imwrite(str(folder / f"{index:03d}.png"), level_picture(10 + index, size_wh))
    return folder


def persons_at(centres_px: list[tuple[float, float]], height_px: float = 100.0, score: float = 0.9) -> Poses:
    """Standing persons about these hip centres."""
    count = len(centres_px)
    points = np.asarray(centres_px, np.float64).reshape(count, 1, 2) + STANDING[None] * height_px
    return Poses(
        keypoints_px=points.astype(np.float32),
        keypoint_scores=np.full((count, 17), score, np.float32),
        scores=np.full(count, score, np.float32),
        skeleton=COCO17,
        boxes_xyxy_px=np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32),
    )


def result_of(poses: Poses, index: int = 0, size_wh: tuple[int, int] = (320, 240)) -> FrameResult:
    """A frame's result on a grey picture."""
    return FrameResult(Frame(level_picture(90, size_wh), 123_456, index), poses, 7.25)
