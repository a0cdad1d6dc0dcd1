"""About a minute of a run, counted frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.telemetry.duration_histogram import DurationHistogram
from edgepose.spec.telemetry_record import (
    MANY_PERSONS,
    TIMED_STAGES,
    TelemetryTotals,
    TelemetryWindow,
    TimedStage,
)


def _no_durations() -> dict[TimedStage, DurationHistogram]:
    return {stage: DurationHistogram() for stage in TIMED_STAGES}


@dataclass
class Window:
    """What is counted; numbers only.

    Attributes:
        started_at: ISO 8601, UTC: a label.
        duration_s: Set when the window ends.
        frames_with_poses: Frames in which somebody was reported.
        dropped: Frames that the source dropped.
        persons_a_frame: Number of persons (at most ``MANY_PERSONS``) to frames.
        persons: Reported persons, summed.
        durations: By stage.
        temperature_celsius: At the window's end.
        throttled: At the window's end.
    """

    started_at: str
    duration_s: float = 0.0
    frames_with_poses: int = 0
    dropped: int = 0
    persons: int = 0
    persons_a_frame: dict[int, int] = field(default_factory=dict)
    durations: dict[TimedStage, DurationHistogram] = field(default_factory=_no_durations)
    temperature_celsius: float | None = None
    throttled: bool | None = None

    @property
    def frames(self) -> int:
        """Frames counted."""
        return sum(self.persons_a_frame.values())

    def count(self, result: FrameResult) -> None:
        """Takes a frame's figures; nothing of its picture or its keypoints."""
        persons = len(result.poses)
        slot = min(persons, MANY_PERSONS)
        self.persons_a_frame[slot] = self.persons_a_frame.get(slot, 0) + 1
        self.frames_with_poses += persons > 0
        self.persons += persons
        self.dropped += result.frame.dropped_before
        durations = self.durations
        durations["total"].add(result.latency_ms)
        for stage, duration_ms in result.stages_ms.items():
            # A detector that was not asked took no time, which is no duration.
            if duration_ms > 0:
                durations[stage].add(duration_ms)

    def merge(self, other: Window) -> None:
        """Adds the counts of another window."""
        self.duration_s += other.duration_s
        self.frames_with_poses += other.frames_with_poses
        self.dropped += other.dropped
        self.persons += other.persons
        for persons, frames in other.persons_a_frame.items():
            self.persons_a_frame[persons] = self.persons_a_frame.get(persons, 0) + frames
        for stage, durations in other.durations.items():
            self.durations[stage].merge(durations)

    def record(self) -> TelemetryWindow:
        """As it is shown and exported."""
        return TelemetryWindow(
            started_at=self.started_at,
            duration_s=round(self.duration_s, 3),
            frames=self.frames,
            frames_with_poses=self.frames_with_poses,
            persons=self.persons,
            dropped=self.dropped,
            fps=self._fps(),
            stages={stage: d.figures() for stage, d in self.durations.items() if d.counts},
            persons_a_frame=self._persons_list(),
            temperature_celsius=self.temperature_celsius,
            throttled=self.throttled,
        )

    def totals(self) -> TelemetryTotals:
        """As the sum of several windows."""
        one = self.record()
        return TelemetryTotals(
            duration_s=one.duration_s,
            frames=one.frames,
            frames_with_poses=one.frames_with_poses,
            persons=one.persons,
            dropped=one.dropped,
            fps=one.fps,
            stages=one.stages,
            persons_a_frame=one.persons_a_frame,
            latency_histogram=self.durations["total"].buckets(),
        )

    def _fps(self) -> float:
        return round(self.frames / self.duration_s, 2) if self.duration_s > 0 else 0.0

    def _persons_list(self) -> tuple[int, ...]:
        most = max(self.persons_a_frame, default=-1)
        return tuple(self.persons_a_frame.get(persons, 0) for persons in range(most + 1))
