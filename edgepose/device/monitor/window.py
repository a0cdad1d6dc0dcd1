"""About a minute of a run, counted frame by frame, and the one table of its figures.

**A new figure** is a row of ``FIGURES`` and a field of :class:`Window` here, and a field of
:class:`edgepose.records.telemetry_record.TelemetryWindow`. Everything else follows from the row: its column
in new databases and in those of former versions, reading, adding up, CSV, Prometheus.

How long things take is counted in fixed buckets: adding is cheap, memory is flat, histograms add up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgepose.device.output.pose_sink import FrameResult
from edgepose.records.telemetry_record import (
    MANY_PERSONS,
    TIMED_STAGES,
    LatencyBucket,
    StageFigures,
    TelemetryTotals,
    TelemetryWindow,
    TimedStage,
)

# Four buckets an octave from 1/16 ms to 65.5 s: a percentile is within a factor of 2 ** (1 / 4) of the truth,
# half of that in the middle. A last bucket without an upper bound follows.
BOUNDS_MS: tuple[float, ...] = tuple(2.0 ** (quarter / 4) for quarter in range(-16, 65))
BUCKETS = len(BOUNDS_MS) + 1
_US_PER_MS = 1000


class DurationHistogram:
    """Counts durations.

    Attributes:
        counts: Bucket to count; empty buckets are left out.
    """

    __slots__ = ("counts", "max_us", "sum_us")

    def __init__(self, counts: Mapping[int, int] | None = None, sum_us: int = 0, max_us: int = 0) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.sum_us = sum_us
        self.max_us = max_us

    @property
    def count(self) -> int:
        """How many durations were added."""
        return sum(self.counts.values())

    def add(self, duration_ms: float) -> None:
        """Adds one duration."""
        bucket = bisect_left(BOUNDS_MS, duration_ms)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        # A camera whose clock runs ahead would give less than nothing.
        duration_us = max(int(duration_ms * _US_PER_MS), 0)
        self.sum_us += duration_us
        self.max_us = max(self.max_us, duration_us)

    def merge(self, other: DurationHistogram) -> None:
        """Adds all durations of another histogram."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)

    def percentile_ms(self, share: float) -> float:
        """The duration that ``share`` (0 to 1) of all durations do not exceed; 0 where there is none.

        Within a bucket durations are taken to lie evenly on a logarithmic scale.
        """
        wanted, seen = share * self.count, 0
        for bucket in sorted(self.counts):
            here = self.counts[bucket]
            if seen + here >= wanted:
                low, high = self._edges(bucket)
                return min(low * (high / low) ** ((wanted - seen) / here), self.max_us / _US_PER_MS)
            seen += here
        return 0.0

    def figures(self) -> StageFigures:
        """Its summary."""
        return StageFigures(
            count=self.count,
            mean_ms=round(self.sum_us / _US_PER_MS / max(self.count, 1), 3),
            p50_ms=round(self.percentile_ms(0.5), 3),
            p95_ms=round(self.percentile_ms(0.95), 3),
            p99_ms=round(self.percentile_ms(0.99), 3),
            max_ms=round(self.max_us / _US_PER_MS, 3),
        )

    def buckets(self) -> tuple[LatencyBucket, ...]:
        """All buckets from the first to the last that is not empty."""
        if not self.counts:
            return ()
        return tuple(
            LatencyBucket(
                up_to_ms=round(BOUNDS_MS[bucket], 4) if bucket < len(BOUNDS_MS) else None,
                frames=self.counts.get(bucket, 0),
            )
            for bucket in range(min(self.counts), max(self.counts) + 1)
        )

    def _edges(self, bucket: int) -> tuple[float, float]:
        low = BOUNDS_MS[bucket - 1] if bucket else BOUNDS_MS[0] / 2
        high = BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else max(self.max_us / _US_PER_MS, low)
        return low, high


@dataclass(frozen=True)
class Figure:
    """A figure of a minute.

    Attributes:
        name: Of the column, and of the field wherever it is held.
        column: Its declaration in SQLite; after the first version it takes NULL, for minutes before it.
        exposed: Its name for Prometheus.
        meaning: In words.
        adds_up: Windows together have the sum; else it is of a window's end and of no sum.
        since: Version of the schema that has it first.
    """

    name: str
    column: str
    exposed: str
    meaning: str
    adds_up: bool = True
    since: int = 1


_COUNT = "INTEGER NOT NULL CHECK ({0} >= 0)"
FIGURES = (
    Figure("frames_with_poses", _COUNT, "frames_with_poses_total", "Frames with somebody in them."),
    Figure("persons", _COUNT, "persons_total", "Reported persons, summed over the frames."),
    Figure("dropped", _COUNT, "frames_dropped_total", "Frames that the source dropped."),
    Figure(
        "temperature_celsius",
        "REAL CHECK ({0} BETWEEN -273.15 AND 1000)",
        "temperature_celsius",
        "The hottest zone.",
        adds_up=False,
    ),
    Figure(
        "throttled",
        "INTEGER CHECK ({0} IN (0, 1))",
        "throttled",
        "1 while the firmware slows the device down.",
        adds_up=False,
    ),
)


def _no_durations() -> dict[TimedStage, DurationHistogram]:
    return {stage: DurationHistogram() for stage in TIMED_STAGES}


@dataclass
class Window:
    """What is counted; numbers only.

    Attributes:
        started_at: ISO 8601, UTC: a label.
        duration_s: Set when the window ends.
        frames_with_poses: Frames in which someone was reported.
        persons_a_frame: Number of persons (at most ``MANY_PERSONS``) to frames.
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
        """Takes a frame's figures; nothing of its image or its keypoints."""
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
        for figure in FIGURES:
            if figure.adds_up and (more := getattr(other, figure.name)) is not None:
                setattr(self, figure.name, (getattr(self, figure.name) or 0) + more)
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
            fps=self._fps(),
            stages={stage: d.figures() for stage, d in self.durations.items() if d.counts},
            persons_a_frame=self._persons_list(),
            **{figure.name: getattr(self, figure.name) for figure in FIGURES},
        )

    def totals(self) -> TelemetryTotals:
        """As the sum of several windows."""
        one = self.record()
        return TelemetryTotals(
            duration_s=one.duration_s,
            frames=one.frames,
            fps=one.fps,
            stages=one.stages,
            persons_a_frame=one.persons_a_frame,
            latency_histogram=self.durations["total"].buckets(),
            **{figure.name: getattr(self, figure.name) for figure in FIGURES if figure.adds_up},
        )

    def _fps(self) -> float:
        return round(self.frames / self.duration_s, 2) if self.duration_s > 0 else 0.0

    def _persons_list(self) -> tuple[int, ...]:
        most = max(self.persons_a_frame, default=-1)
        return tuple(self.persons_a_frame.get(persons, 0) for persons in range(most + 1))
