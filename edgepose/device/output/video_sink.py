"""The source's pictures with the poses drawn on them, as an MP4 file."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.native_messages import silence_native_messages
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.output.skeleton_drawing import draw_poses
from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.spec.whole_file import PRIVATE, whole_file

# Pictures of a folder have no rate: two a second can be looked at.
FPS_WITHOUT_RATE = 2.0
_CODEC = "mp4v"


class VideoSink:
    """Writes a video beside its target and gives it its name when it is whole.

    All frames of a video have one size: pictures of another one (a folder of images) are fitted into the
    first one's, with black beside them.

    Args:
        path: The file, which is replaced when the video is whole.
        fps: Frames per second, or None where the source has no rate.

    Raises:
        ConfigError: The folder of the file does not exist or cannot be written.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self._path = path
        self._fps = fps or FPS_WITHOUT_RATE
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._closed = False
        # FFmpeg opens by name and follows links: in a folder of its own (mode 0700) nobody can lay one. It
        # cannot say why it failed to open a file either, so that is found out before.
        self._folder: TemporaryDirectory[str] | None = None
        try:
            self._folder = TemporaryDirectory(prefix=f".{path.name[:100]}.", dir=path.parent)
            self._temporary = Path(self._folder.name) / "video.mp4"
            self._temporary.touch(PRIVATE, exist_ok=False)
        except OSError as problem:
            self._remove()
            raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem

    def write(self, result: FrameResult) -> None:
        """Draws and appends one frame.

        Raises:
            MissingDependencyError: This OpenCV cannot write MPEG-4 video.
        """
        if self._writer is None:
            self._size_wh = _even(result.frame.size_wh)
            self._writer = self._open_writer()
        drawn = draw_poses(result.frame.image, result.poses)
        self._writer.write(cv2.cvtColor(fitted(drawn, self._size_wh), cv2.COLOR_RGB2BGR))

    def close(self, *, complete: bool) -> None:
        """Gives the video its name, or removes it where the run failed or had no frame.

        Raises:
            ConfigError: The disk is full or the folder is gone.
        """
        if self._closed:
            return
        self._closed = True
        frames_written = self._writer is not None
        if self._writer is not None:
            self._writer.release()
        try:
            if complete and frames_written:
                self._finish()
        except OSError as problem:
            raise ConfigError(f"Cannot write {self._path}: {problem.strerror}.") from problem
        finally:
            self._remove()

    def _remove(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _open_writer(self) -> cv2.VideoWriter:
        silence_native_messages()
        codec = cv2.VideoWriter.fourcc(*_CODEC)
        writer = cv2.VideoWriter(os.fspath(self._temporary), cv2.CAP_FFMPEG, codec, self._fps, self._size_wh)
        if not writer.isOpened():
            writer.release()
            raise MissingDependencyError(
                f"This OpenCV cannot write MPEG-4 video ({_CODEC}), which --render needs.",
                "Run: pip install opencv-python-headless",
            )
        return writer

    def _finish(self) -> None:
        if not self._temporary.stat().st_size:
            raise ConfigError(f"Cannot write {self._path}: the encoder wrote nothing; the disk may be full.")
        with self._temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        try:
            self._temporary.replace(self._path)
        except OSError as problem:
            # A locked run may not let a file change its folder (landlock(7), LANDLOCK_ACCESS_FS_REFER).
            if problem.errno != errno.EXDEV:
                raise
            with self._temporary.open("rb") as source, whole_file(self._path) as target:
                shutil.copyfileobj(source, target)


def fitted(picture: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Scales a picture to fit, centred on black; one that has the size already is returned as it is.

    Args:
        picture: uint8 (H, W, 3).
        size_wh: Width and height of the result.
    """
    height, width = picture.shape[:2]
    if (width, height) == size_wh:
        return picture
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner = (
        min(max(round(width * scale), 1), size_wh[0]),
        min(max(round(height * scale), 1), size_wh[1]),
    )
    left, top = (size_wh[0] - inner[0]) // 2, (size_wh[1] - inner[1]) // 2
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        picture, inner, interpolation=cv2.INTER_AREA
    )
    return canvas


def _even(size_wh: tuple[int, int]) -> tuple[int, int]:
    """MPEG-4 halves the colour planes, so odd sizes grow by one pixel."""
    return size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2
