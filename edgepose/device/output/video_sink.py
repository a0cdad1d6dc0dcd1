"""The source's images with the poses drawn on them, as an MP4 file."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.camera_source import silence_native_messages
from edgepose.device.output.pose_sink import FrameResult
from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.records.files import PRIVATE, atomic_file

Colour = tuple[int, int, int]

# RGB. Blue and orange stay apart for every common kind of colour blindness (Okabe and Ito 2008).
LEFT: Colour = (230, 159, 0)
RIGHT: Colour = (86, 180, 233)
MIDDLE: Colour = (240, 240, 240)
OUTLINE: Colour = (20, 20, 20)
# One colour a track for its label, from the same palette.
_TRACKS: tuple[Colour, ...] = (
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)


def draw_poses(image: NDArray[np.uint8], poses: Poses, min_keypoint_score: float = 0.2) -> NDArray[np.uint8]:
    """Draws limbs, keypoints and track ids.

    Args:
        image: uint8 (H, W, 3), RGB; it stays as it is.
        poses: Persons in its pixels.
        min_keypoint_score: Keypoints below are not drawn, nor limbs that end in one.

    Returns:
        An image of the same shape.
    """
    picture = np.array(image, dtype=np.uint8, order="C")
    for person in range(len(poses)):
        _draw_person(picture, poses, person, min_keypoint_score)
    return picture


def side_colour(keypoint_name: str) -> Colour:
    """Left of the body orange, right blue, the rest white."""
    if keypoint_name.startswith("left"):
        return LEFT
    return RIGHT if keypoint_name.startswith("right") else MIDDLE


def limb_colour(skeleton: Skeleton, first: int, second: int) -> Colour:
    """The colour of both ends where they agree, else white."""
    colours = {side_colour(skeleton.keypoint_names[index]) for index in (first, second)}
    return colours.pop() if len(colours) == 1 else MIDDLE


def _draw_person(image: NDArray[np.uint8], poses: Poses, person: int, min_score: float) -> None:
    width_px = max(round(min(image.shape[:2]) / 240), 1)
    # A damaged coordinate far outside would overflow the drawing's integers; nothing there is visible.
    reach = 4 * max(image.shape[:2])
    points = np.clip(np.nan_to_num(poses.keypoints_px[person]), -reach, reach).round().astype(int).tolist()
    shown = poses.keypoint_scores[person] >= min_score
    skeleton = poses.skeleton
    limbs = [edge for edge in skeleton.edges if shown[edge[0]] and shown[edge[1]]]
    # All outlines first, so that no outline crosses a coloured limb.
    for first, second in limbs:
        cv2.line(image, points[first], points[second], OUTLINE, width_px + 2, cv2.LINE_AA)
    for first, second in limbs:
        colour = limb_colour(skeleton, first, second)
        cv2.line(image, points[first], points[second], colour, width_px, cv2.LINE_AA)
    for index in np.flatnonzero(shown):
        colour = side_colour(skeleton.keypoint_names[index])
        cv2.circle(image, points[index], width_px + 2, OUTLINE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, points[index], width_px + 1, colour, cv2.FILLED, cv2.LINE_AA)
    if poses.track_ids is not None and shown.any():
        top = min((points[index] for index in np.flatnonzero(shown)), key=lambda point: point[1])
        _draw_id(image, int(poses.track_ids[person]), (top[0], top[1]), width_px)


def _draw_id(image: NDArray[np.uint8], track_id: int, top_px: tuple[int, int], width_px: int) -> None:
    """The id above the highest keypoint, kept inside the image."""
    text, scale = str(track_id), 0.3 + 0.25 * width_px
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width_px)
    height, width = image.shape[:2]
    x = int(np.clip(top_px[0] - text_width // 2, 0, max(width - text_width, 0)))
    y = int(np.clip(top_px[1] - 4 * width_px, text_height, height - 1))
    colour = _TRACKS[track_id % len(_TRACKS)]
    for line_colour, line_width in ((OUTLINE, width_px + 3), (colour, width_px)):
        cv2.putText(
            image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, line_colour, line_width, cv2.LINE_AA
        )


# Images of a folder have no rate: two a second can be looked at.
FPS_WITHOUT_RATE = 2.0
_CODEC = "mp4v"


class VideoSink:
    """Writes a video beside its target and gives it its name when it is whole.

    All frames of a video have one size: images of another one (a folder of images) are fitted into the
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
        # FFmpeg opens by name and follows links: in a folder of its own (mode 0700) no one can lay one. It
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
            with self._temporary.open("rb") as source, atomic_file(self._path) as target:
                shutil.copyfileobj(source, target)


def fitted(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Scales a uint8 (H, W, 3) image to fit, centred on black; one of that size is returned as it is."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner = (
        min(max(round(width * scale), 1), size_wh[0]),
        min(max(round(height * scale), 1), size_wh[1]),
    )
    left, top = (size_wh[0] - inner[0]) // 2, (size_wh[1] - inner[1]) // 2
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=cv2.INTER_AREA
    )
    return canvas


def _even(size_wh: tuple[int, int]) -> tuple[int, int]:
    """MPEG-4 halves the colour planes, so odd sizes grow by one pixel."""
    return size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2
