"""A video file, or image files: every frame, in order, none dropped."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.device.capture.camera_source import silence_native_messages
from edgepose.device.capture.frame_source import Frame, ImageBuffers, ImageMemory, SourceInfo
from edgepose.errors import ConfigError
from edgepose.runtime.image_file import IMAGE_SUFFIXES, list_image_files, read_image_rgb

# A recording may be this much shorter than its header says (edit lists, rounded durations).
_TOLERATED_SHARE = 0.02
_TOLERATED_FRAMES = 2


class VideoSource:
    """Frames of a video file, upright as its metadata says.

    Raises:
        ConfigError: The file is missing, empty or no video that can be decoded.
    """

    def __init__(self, path: Path, images: ImageMemory | None = None) -> None:
        self._path = path
        self._capture = _open(path)
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._promised = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self._fps = fps if np.isfinite(fps) and 0 < fps <= 1000 else None
        self._index = 0
        self._last_position_ms = 0.0
        self._ended = False
        self._decoded: Any = None
        self._pictures = images or ImageBuffers()

    @property
    def info(self) -> SourceInfo:
        """What the header says."""
        return SourceInfo(str(self._path), live=False, fps=self._fps, frame_count=self._promised or None)

    @property
    def ended(self) -> bool:
        """Whether the last frame was delivered."""
        return self._ended

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002 (decoding takes what it takes)
        """Decodes the next frame.

        Raises:
            ConfigError: No frame can be decoded, or the file ends long before its header says.
        """
        if self._ended:
            return None
        # Its buffer is used again and again: a new 8 MB image a frame costs page faults.
        decoded, self._decoded = self._capture.read(self._decoded)
        timestamp_ns = time.monotonic_ns()
        if not decoded:
            self._ended = True
            self._check_complete()
            return None
        self._last_position_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        image = self._pictures.take(self._decoded.shape)
        cv2.cvtColor(self._decoded, cv2.COLOR_BGR2RGB, dst=image)
        frame = Frame(image, timestamp_ns, self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Releases the decoder."""
        self._ended = True
        self._capture.release()

    def _check_complete(self) -> None:
        if self._index == 0:
            raise ConfigError(
                f"No frame of the video {self._path} can be decoded.", "Copy or record it again."
            )
        if self._fps is None:
            return
        # The promised count is exact in some containers and an estimate from the duration in others, so
        # both the count and the last frame's time must fall short before a file counts as cut off.
        allowed = self._promised * (1 - _TOLERATED_SHARE) - _TOLERATED_FRAMES
        last_frame = self._last_position_ms / 1e3 * self._fps
        if self._index < allowed and last_frame < allowed:
            raise ConfigError(
                f"The video {self._path} ends after {self._index} of {self._promised} frames: it is cut off "
                "or damaged.",
                "Copy or record it again.",
            )


def _open(path: Path) -> cv2.VideoCapture:
    if not path.exists():
        raise ConfigError(f"The video {path} does not exist.")
    if not path.is_file():
        raise ConfigError(f"{path} is no regular file, expected a video.")
    if path.stat().st_size == 0:
        raise ConfigError(f"The video {path} is empty.", "Copy or record it again.")
    silence_native_messages()
    # One decoder thread: each further one holds frames of its own, and the pose model needs the cores.
    # An absolute path cannot be taken for one of FFmpeg's protocols (`concat:`, `http:`).
    capture = cv2.VideoCapture(os.fspath(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        capture.release()
        raise ConfigError(
            f"{path} is not a readable video: its header is damaged or its format is unknown.",
            "Expected for example MP4 with H.264; copy or convert it again.",
        )
    return capture


class FolderSource:
    """Images from image files."""

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        self._paths = tuple(paths)
        self._name = name
        self._index = 0

    @classmethod
    def of_folder(cls, folder: Path) -> FolderSource:
        """Takes the image files of a folder; sub-folders and hidden files are left out.

        Raises:
            ConfigError: The folder holds no image.
        """
        paths = list_image_files(folder)
        if not paths:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise ConfigError(f"The folder {folder} holds no image; expected files ending in {suffixes}.")
        return cls(paths, str(folder))

    @property
    def info(self) -> SourceInfo:
        """The number of images; they have no rate."""
        return SourceInfo(self._name, live=False, frame_count=len(self._paths))

    @property
    def ended(self) -> bool:
        """Whether the last image was delivered."""
        return self._index >= len(self._paths)

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002 (decoding takes what it takes)
        """Decodes the next image.

        Raises:
            ConfigError: The file is no readable image; the message names it.
        """
        if self.ended:
            return None
        image = read_image_rgb(self._paths[self._index])
        frame = Frame(image, time.monotonic_ns(), self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Ends the source; there is nothing to release."""
        self._index = len(self._paths)
