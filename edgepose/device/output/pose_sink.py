"""What a run gives to its outputs, frame by frame, and the first of them: lines of ``edgepose.poses/1``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.frame_source import Frame
from edgepose.device.events import RateChange
from edgepose.errors import ConfigError, ModelError
from edgepose.pose.poses import Poses
from edgepose.records.files import open_appending, open_growing
from edgepose.runtime.pipeline import Stage


@dataclass(frozen=True)
class FrameResult:
    """What is known about one frame.

    Attributes:
        poses: The reported persons, with track ids, smoothed where the run smooths.
        latency_ms: From the capture of the frame to its poses.
        stages_ms: Time of each stage; a detector that was not asked took 0.
        scene_time_ns: When the scene looked like this: the capture time of a live frame, a file's media time.
        measured: The same persons as the model saw them; None where nothing was smoothed.
        rate_changes: What was decided about the input rate since the last result.
    """

    frame: Frame
    poses: Poses
    latency_ms: float
    stages_ms: Mapping[Stage, float] = field(default_factory=dict)
    scene_time_ns: int = 0
    measured: Poses | None = None
    rate_changes: tuple[RateChange, ...] = ()

    @property
    def unsmoothed(self) -> Poses:
        """The persons as the model saw them: what drift and jitter are measured on."""
        return self.poses if self.measured is None else self.measured

    @cached_property
    def line(self) -> bytes:
        """The record of the frame with its newline: encoded once, for the file, the socket and the page.

        Raises:
            ModelError: A coordinate or score is NaN or infinite.
        """
        return pose_line(self)


class PoseSink(Protocol):
    """Takes the results of one run, frame by frame."""

    def write(self, result: FrameResult) -> None:
        """Takes one frame; nothing of ``result.frame`` is kept afterwards.

        A run calls it from one thread only, which is not the one that opens and closes the sink.

        Raises:
            EdgeposeError: The output cannot be written.
        """
        ...

    def close(self, *, complete: bool) -> None:
        """Finishes the output; closing twice is harmless.

        Args:
            complete: False when the run failed: an output that is only useful whole is then removed.

        Raises:
            EdgeposeError: The output cannot be finished.
        """
        ...


SCHEMA = "edgepose.poses/1"
_encode = msgspec.json.Encoder().encode
STANDARD_OUTPUT = Path("-")
_PX_DECIMALS = 2
_SCORE_DECIMALS = 4


class JsonlSink:
    """Writes each line with one system call, so that a reader or a sudden end never meets half a line.

    Args:
        path: The file, which is replaced; ``-`` is standard output.
        append: Keep what it holds and add to it.

    Raises:
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._path = path
        self._owned = path != STANDARD_OUTPUT
        opened = open_appending if append else open_growing
        try:
            self._descriptor = opened(path) if self._owned else 1
        except OSError as problem:
            raise self._failure(problem) from problem

    def write(self, result: FrameResult) -> None:
        """Appends the frame's line.

        Raises:
            ConfigError: The disk is full or the file is gone.
            ModelError: A coordinate or score is NaN or infinite.
        """
        line = result.line
        try:
            _write_whole(self._descriptor, line)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise self._failure(problem) from problem

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (every line is useful by itself)
        """Brings the file to the disk.

        Raises:
            ConfigError: The disk is full.
        """
        if not self._owned:
            return
        self._owned = False
        try:
            os.fsync(self._descriptor)
        except OSError as problem:
            # Pipes and devices (`--output /dev/null`) cannot be synchronized, which is no loss.
            if self._path.is_file():
                raise self._failure(problem) from problem
        finally:
            os.close(self._descriptor)

    def _failure(self, problem: OSError) -> ConfigError:
        return ConfigError(f"Cannot write {self._path}: {problem.strerror}.")


def pose_line(result: FrameResult) -> bytes:
    """The record of one frame as a line with its newline.

    Raises:
        ModelError: A coordinate or score is NaN or infinite.
    """
    return _encode(pose_record(result)) + b"\n"


def pose_record(result: FrameResult) -> dict[str, Any]:
    """The record of one frame, as plain values.

    Raises:
        ModelError: A coordinate or score is NaN or infinite.
    """
    frame, poses = result.frame, result.poses
    width_px, height_px = frame.size_wh
    return {
        "schema": SCHEMA,
        "frame": frame.index,
        "timestamp_ns": frame.timestamp_ns,
        "width_px": width_px,
        "height_px": height_px,
        "dropped_before": frame.dropped_before,
        "latency_ms": round(result.latency_ms, 3),
        "skeleton": poses.skeleton.name,
        "poses": _persons(poses),
    }


def _persons(poses: Poses) -> list[dict[str, Any]]:
    keypoints = np.concatenate(
        [
            _rounded(poses.keypoints_px, _PX_DECIMALS),
            _rounded(poses.keypoint_scores, _SCORE_DECIMALS)[..., None],
        ],
        axis=2,
    ).tolist()
    scores = _rounded(poses.scores, _SCORE_DECIMALS).tolist()
    nothing = [None] * len(poses)
    boxes = nothing if (b := poses.boxes_xyxy_px) is None else _rounded(b, _PX_DECIMALS).tolist()
    track_ids = nothing if poses.track_ids is None else poses.track_ids.tolist()
    return [
        {"track_id": track_id, "score": score, "box_xyxy_px": box, "keypoints": points}
        for track_id, score, box, points in zip(track_ids, scores, boxes, keypoints, strict=True)
    ]


def _rounded(values: NDArray[np.floating], decimals: int) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise ModelError("A pose holds NaN or infinite values.", "The model is damaged.")
    # float64 first: a rounded float32 would print as 12.3400001526. Adding 0 turns -0.0 into 0.0.
    return np.asarray(np.round(values.astype(np.float64), decimals) + 0.0)


def _write_whole(descriptor: int, data: bytes) -> None:
    """One write takes all but on a pipe or a full disk, where the rest follows or the error comes."""
    while data:
        data = data[os.write(descriptor, data) :]
