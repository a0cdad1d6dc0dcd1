"""Chooses frames with poses, draws them and packs them small.

What reads videos and what draws skeletons belongs to the device; both are given, since host and device do not
know each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.report.material import PosedPicture, Sight
from edgepose.host.report.poses_log import FrameLine, poses_of, read_poses_log, spread
from edgepose.pose.poses import Poses

Picture = NDArray[np.uint8]
_MOST_PICTURES = 6
# Two of them fill a desktop's page; six stay under half a megabyte.
_LONGEST_SIDE_PX = 640
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class SightRequest:
    """What to show.

    Attributes:
        video: A video file, or a folder of images.
        poses: What ``run --output`` wrote for it.
        frames: Yields (number, RGB picture) of a source's frames in order; a picture holds until the next.
        draw: Draws poses on a copy of an RGB picture.
    """

    video: Path
    poses: Path
    frames: Callable[[Path], Iterable[tuple[int, Picture]]]
    draw: Callable[[Picture, Poses], Picture]


def take_pictures(request: SightRequest) -> Sight:
    """Draws up to six frames, evenly spread among those in which somebody was found.

    Raises:
        ConfigError: A file cannot be read, or the poses belong to another video.
    """
    log = read_poses_log(request.poses)
    chosen = spread(log.posed, _MOST_PICTURES)
    pictures = tuple(_drawn(request, chosen)) if chosen else ()
    return Sight(request.video.name, request.poses.name, log.frames, len(log.posed), pictures)


def _drawn(request: SightRequest, chosen: Sequence[FrameLine]) -> Iterator[PosedPicture]:
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


def _require_same_size(request: SightRequest, line: FrameLine, image: Picture) -> None:
    height, width = image.shape[:2]
    if (width, height) != (line.width_px, line.height_px):
        raise ConfigError(
            f"{request.poses}, frame {line.frame}: expected a picture of {line.width_px}x{line.height_px}, "
            f"found {width}x{height} in {request.video}.",
            "Give the very video that the poses were estimated on.",
        )


def _packed(line: FrameLine, picture: Picture) -> PosedPicture:
    height, width = picture.shape[:2]
    scale = min(_LONGEST_SIDE_PX / max(height, width), 1.0)
    size_wh = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ConfigError(f"Frame {line.frame} cannot be written as JPEG; this OpenCV has no encoder for it.")
    return PosedPicture(line.frame, len(line.poses), data.tobytes(), size_wh)
