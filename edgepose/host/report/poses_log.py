"""Reads the poses that ``run --output`` wrote: schema ``edgepose.poses/1``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgepose.errors import ConfigError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import skeleton_named
from edgepose.records.record import Record, read_text

_LARGEST_PX = 1e6


class PersonLine(Record, frozen=True, kw_only=True):
    """A person of a frame."""

    track_id: int | None
    score: float
    box_xyxy_px: tuple[float, float, float, float] | None
    keypoints: tuple[tuple[float, float, float], ...]


class FrameLine(Record, frozen=True, kw_only=True):
    """A line."""

    schema: Literal["edgepose.poses/1"]
    frame: int
    timestamp_ns: int
    width_px: int
    height_px: int
    dropped_before: int
    latency_ms: float
    skeleton: str
    poses: tuple[PersonLine, ...]


@dataclass(frozen=True)
class PosesLog:
    """What the file says.

    Attributes:
        frames: Number of lines.
        posed: The lines with at least one person, in order of their frame.
    """

    frames: int
    posed: tuple[FrameLine, ...]


def read_poses_log(path: Path) -> PosesLog:
    """Reads all lines.

    Raises:
        ConfigError: The file cannot be read, or a line is no line of ``run --output``.
    """
    lines = list(_lines(path))
    posed = {line.frame: line for line in lines if line.poses}
    return PosesLog(len(lines), tuple(posed[frame] for frame in sorted(posed)))


def spread(lines: Sequence[FrameLine], count: int) -> tuple[FrameLine, ...]:
    """At most ``count`` of them, the first and the last among them, at even distances."""
    if len(lines) <= count:
        return tuple(lines)
    places = np.linspace(0, len(lines) - 1, count).round().astype(int).tolist()
    return tuple(lines[place] for place in places)


def poses_of(line: FrameLine, where: str) -> Poses:
    """The persons of a frame, as drawing takes them.

    Args:
        line: The frame.
        where: Names the file in messages.

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


def _lines(path: Path) -> Iterator[FrameLine]:
    decoder = msgspec.json.Decoder(FrameLine)
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            yield decoder.decode(text)
        except msgspec.DecodeError as problem:
            raise ConfigError(
                f"{path}, line {number}, is no frame of edgepose.poses/1: {problem}.",
                "Give the file that `edgepose run --output` wrote.",
            ) from problem
