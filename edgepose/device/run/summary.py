"""What a run was like: counted frame by frame, summed up at the end."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from edgepose.device.events import CaptureEvent, RateChange
from edgepose.device.output.pose_sink import FrameResult
from edgepose.records.record import Record
from edgepose.runtime.backend import BackendInfo
from edgepose.runtime.pipeline import STAGES

# A camera may run for months: percentiles are of the newest frames, 20 minutes at 30 frames a second, in less
# than a MiB.
_KEPT_FRAMES = 36_000
_KEPT_EVENTS = 100

Ending = Literal["source", "max_frames", "signal"]


class LatencySummary(Record, frozen=True, kw_only=True):
    """Milliseconds from the capture of a frame to its poses."""

    p50: float
    p95: float


class RunSummary(Record, frozen=True, kw_only=True):
    """``run --json``.

    Attributes:
        schema: ``edgepose.run/1``.
        source: The source, without a password.
        frames: Frames processed.
        frames_with_poses: Frames in which someone was reported.
        persons: Reported persons, summed over all frames.
        tracks: Different track ids.
        dropped: Frames that a live source dropped.
        duration_s: From the first read to the last frame's output.
        fps: Frames a second over that time; None without a frame.
        latency_ms: From capture to poses; None without a frame.
        stages_ms: Median time of each stage; empty without a frame.
        ended_by: The end of the source, ``--max-frames``, or SIGTERM or SIGINT.
        backend: What really ran the pose model.
        skipped: How many of the dropped frames were left out on purpose, to keep the input rate.
        rate_changes: When the input rate was changed and why, the newest hundred.
        camera_events: What happened to the camera, the newest hundred.
    """

    source: str
    frames: int
    frames_with_poses: int
    persons: int
    tracks: int
    dropped: int
    duration_s: float
    fps: float | None
    latency_ms: LatencySummary | None
    stages_ms: dict[str, float]
    ended_by: Ending
    backend: BackendInfo
    skipped: int = 0
    rate_changes: tuple[RateChange, ...] = ()
    camera_events: tuple[CaptureEvent, ...] = ()
    schema: Literal["edgepose.run/1"] = "edgepose.run/1"

    def describe(self) -> str:
        """One or two lines for people."""
        counts = (
            f"{self.source}: {self.frames} frames, {self.frames_with_poses} with poses, "
            f"{self.tracks} tracks, {self.dropped} dropped."
        )
        if self.fps is None or self.latency_ms is None:
            return counts
        if self.rate_changes:
            reasons = " and ".join(sorted({c.reason for c in self.rate_changes} - {"recovered"}))
            counts += f"\n{self.skipped} of the dropped were left out because of {reasons}."
        if lost := sum(event.kind == "lost" for event in self.camera_events):
            counts += f"\nThe camera was lost {lost} times."
        return (
            f"{counts}\n{self.fps:.1f} frames a second; from capture to poses {self.latency_ms.p50:.1f} ms "
            f"(median), {self.latency_ms.p95:.1f} ms (95 %)."
        )


class RunCounter:
    """Counts while a run goes on."""

    def __init__(self) -> None:
        self.frames = 0
        self._frames_with_poses = 0
        self._persons = 0
        self._highest_track_id = 0
        self._dropped = 0
        # Latency, then the stages; a ring.
        self._times_ms = np.zeros((_KEPT_FRAMES, 1 + len(STAGES)), np.float32)
        self._skipped = 0
        self._rate_changes: deque[RateChange] = deque(maxlen=_KEPT_EVENTS)
        self._camera_events: deque[CaptureEvent] = deque(maxlen=_KEPT_EVENTS)

    def count(self, result: FrameResult, skipped: int) -> None:
        """Takes one frame.

        Args:
            result: What is known about it.
            skipped: Frames left out on purpose before it, which ``dropped_before`` counts too.
        """
        poses = result.poses
        self.frames += 1
        self._frames_with_poses += len(poses) > 0
        self._persons += len(poses)
        self._dropped += result.frame.dropped_before
        self._skipped += skipped
        times_ms = (result.latency_ms, *(result.stages_ms[stage] for stage in STAGES))
        self._times_ms[(self.frames - 1) % _KEPT_FRAMES] = times_ms
        self._rate_changes.extend(result.rate_changes)
        self._camera_events.extend(result.frame.events)
        if poses.track_ids is not None and len(poses):
            # Trackers count ids from 1.
            self._highest_track_id = max(self._highest_track_id, int(poses.track_ids.max()))

    def summary(self, source: str, duration_s: float, ended_by: Ending, backend: BackendInfo) -> RunSummary:
        """Sums up."""
        latency: LatencySummary | None = None
        stages: dict[str, float] = {}
        if self.frames:
            times_ms = self._times_ms[: self.frames]
            p50, p95 = np.percentile(times_ms[:, 0], [50, 95])
            latency = LatencySummary(p50=round(float(p50), 3), p95=round(float(p95), 3))
            medians = np.median(times_ms[:, 1:], axis=0)
            stages = {stage: round(float(ms), 3) for stage, ms in zip(STAGES, medians, strict=True)}
        return RunSummary(
            source=source,
            frames=self.frames,
            frames_with_poses=self._frames_with_poses,
            persons=self._persons,
            tracks=self._highest_track_id,
            dropped=self._dropped,
            duration_s=round(duration_s, 3),
            fps=round(self.frames / duration_s, 2) if self.frames and duration_s > 0 else None,
            latency_ms=latency,
            stages_ms=stages,
            ended_by=ended_by,
            backend=backend,
            skipped=self._skipped,
            rate_changes=tuple(self._rate_changes),
            camera_events=tuple(self._camera_events),
        )
