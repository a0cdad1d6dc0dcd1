"""Chooses frames of a video by the poses that ``run --output`` wrote, draws them and packs them small.

What reads videos and what draws skeletons belongs to the device; both are given, since host and device do not
know each other.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.report.inputs import DrawnFrame, DrawnFrames
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import skeleton_named
from edgepose.records.record import Record

_LARGEST_PX = 1e6
# A person takes about a kilobyte.
_LONGEST_LINE_BYTES = 16 << 20


class PersonLine(Record, frozen=True, kw_only=True):
    """A person of a frame."""

    track_id: int | None
    score: float
    box_xyxy_px: tuple[float, float, float, float] | None
    keypoints: tuple[tuple[float, float, float], ...]


class FrameLine(Record, frozen=True, kw_only=True):
    """A line."""

    schema: Literal["edgepose.poses/1"]
    # Beyond, no array and no other reader of JSON holds it.
    frame: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    timestamp_ns: int
    width_px: int
    height_px: int
    dropped_before: int
    latency_ms: float
    skeleton: str
    poses: tuple[PersonLine, ...]


_DECODER = msgspec.json.Decoder(FrameLine)


@dataclass(frozen=True)
class PosesLog:
    """Number of lines, of those with a person, and some of these in order of their frame."""

    frames: int
    posed: int
    chosen: tuple[FrameLine, ...]


def read_poses_log(path: Path, most: int) -> PosesLog:
    """Reads all lines, one at a time, and keeps where those with a person begin.

    At most ``most`` are chosen, the first and the last among them, at even distances.

    Raises:
        ConfigError: The file cannot be read, or a line is no line of ``run --output``.
    """
    frames, starts, lines = array("q"), array("q"), 0
    try:
        with path.open("rb") as file:
            for line, start in _lines(file, path):
                lines += 1
                if line.poses:
                    frames.append(line.frame)
                    starts.append(start)
            found = _last_of_each(np.asarray(frames), np.asarray(starts))
            places = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
            return PosesLog(lines, len(found), tuple(_line_at(file, start) for start in found[places]))
    except OSError as problem:
        raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem


def _last_of_each(frames: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the lines begin in order of their frames; the last line of a frame counts."""
    order = np.argsort(frames, kind="stable")
    last = np.append(np.diff(frames[order]) != 0, True)[: len(order)]
    return starts[order][last]


def poses_of(line: FrameLine, where: str) -> Poses:
    """The persons of a frame, as drawing takes them; ``where`` names the file in messages.

    Raises:
        ConfigError: The skeleton is not built in, or a person has another number of keypoints.
    """
    skeleton = skeleton_named(line.skeleton)
    if any(len(person.keypoints) != skeleton.keypoint_count for person in line.poses):
        raise ConfigError(
            f"{where}, frame {line.frame}: expected {skeleton.keypoint_count} keypoints of {skeleton.name} a "
            f"person, found {sorted({len(person.keypoints) for person in line.poses})}."
        )
    keypoints = np.array([person.keypoints for person in line.poses], np.float64)
    tracks = [person.track_id for person in line.poses]
    return Poses(
        keypoints_px=np.clip(keypoints[..., :2], -_LARGEST_PX, _LARGEST_PX).astype(np.float32),
        keypoint_scores=keypoints[..., 2].astype(np.float32),
        scores=np.array([person.score for person in line.poses], np.float32),
        skeleton=skeleton,
        track_ids=None if None in tracks else np.array(tracks, np.int64),
    )


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[FrameLine, int]]:
    """Each line that is not empty, and where it begins."""
    start, number = 0, 0
    while text := file.readline(_LONGEST_LINE_BYTES):
        number += 1
        if text.strip():
            try:
                yield _DECODER.decode(text), start
            # ValueError: a text in it is no UTF-8.
            except (msgspec.DecodeError, ValueError) as problem:
                raise ConfigError(
                    f"{path}, line {number}, is no frame of edgepose.poses/1: {problem}.",
                    "Give the file that `edgepose run --output` wrote.",
                ) from problem
        start += len(text)


def _line_at(file: BinaryIO, start: np.int64) -> FrameLine:
    file.seek(int(start))
    return _DECODER.decode(file.readline(_LONGEST_LINE_BYTES))


Image = NDArray[np.uint8]
_MOST_FRAMES = 6
# Two of them fill a desktop's page; six stay under half a megabyte.
_LONGEST_SIDE_PX = 640
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class DrawRequest:
    """What to show.

    Attributes:
        video: A video file, or a folder of images.
        poses: What ``run --output`` wrote for it.
        frames: Yields (number, RGB image) of a source's frames in order; an image holds until the next.
        draw: Draws poses on a copy of an RGB image.
    """

    video: Path
    poses: Path
    frames: Callable[[Path], Iterable[tuple[int, Image]]]
    draw: Callable[[Image, Poses], Image]


def draw_frames(request: DrawRequest) -> DrawnFrames:
    """Draws up to six frames, evenly spread among those with a person.

    Raises:
        ConfigError: A file cannot be read, or the poses belong to another video.
    """
    log = read_poses_log(request.poses, _MOST_FRAMES)
    shown = tuple(_drawn(request, log.chosen)) if log.chosen else ()
    return DrawnFrames(request.video.name, request.poses.name, log.frames, log.posed, shown)


def _drawn(request: DrawRequest, chosen: Sequence[FrameLine]) -> Iterator[DrawnFrame]:
    waiting = {line.frame: line for line in chosen}
    for index, image in request.frames(request.video):
        line = waiting.pop(index, None)
        if line is not None:
            _require_same_size(request, line, image)
            drawn = request.draw(image, poses_of(line, str(request.poses)))
            yield _packed(line, drawn)
        if not waiting:
            return
    if waiting:
        raise ConfigError(
            f"{request.poses} tells about frame {min(waiting)}, which {request.video} does not have.",
            "Give the very video that the poses were estimated on.",
        )


def _require_same_size(request: DrawRequest, line: FrameLine, image: Image) -> None:
    height, width = image.shape[:2]
    if (width, height) != (line.width_px, line.height_px):
        raise ConfigError(
            f"{request.poses}, frame {line.frame}: expected a picture of {line.width_px}x{line.height_px}, "
            f"found {width}x{height} in {request.video}.",
            "Give the very video that the poses were estimated on.",
        )


def _packed(line: FrameLine, image: Image) -> DrawnFrame:
    height, width = image.shape[:2]
    scale = min(_LONGEST_SIDE_PX / max(height, width), 1.0)
    size_wh = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA) if scale < 1 else image
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ConfigError(f"Frame {line.frame} cannot be written as JPEG; this OpenCV has no encoder for it.")
    return DrawnFrame(line.frame, len(line.poses), data.tobytes(), size_wh)
