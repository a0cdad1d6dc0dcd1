"""Gives the host's report the device's eyes and pen: how `run` reads a source, and how it draws poses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.output.skeleton_drawing import draw_poses
from edgepose.host.report.pictures import SightRequest


def sight_request(video: Path, poses: Path) -> SightRequest:
    """What to show of a video file or a folder of images."""
    return SightRequest(video, poses, _frames, draw_poses)


def _frames(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    source = open_source(SourceAddress("path", str(path)))
    try:
        while not source.ended:
            frame = source.read(0.0)
            if frame is not None:
                yield frame.index, frame.image
    finally:
        source.close()
