"""What telemetry may say: figures per minute and named events. No coordinate, no image, no free text."""

from __future__ import annotations

from typing import Literal, get_args

from edgepose.records.record import Record

TimedStage = Literal["total", "detect", "preprocess", "infer", "decode"]
TIMED_STAGES: tuple[TimedStage, ...] = get_args(TimedStage)

EventKind = Literal[
    "run_started", "run_ended", "camera_restarted", "camera_frozen", "camera_size_changed", "camera_lost",
    "rate_lowered", "rate_restored", "drift_started", "drift_ended", "clock_changed", "telemetry_paused",
    "store_renewed",
]  # fmt: skip
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)

# From this count on persons a frame are not told apart.
MANY_PERSONS = 20
SUBJECT_LENGTH = 64


class RuntimeEvent(Record, frozen=True, kw_only=True):
    """Something that happened while a run went on.

    Attributes:
        kind: One of a closed list.
        subject: What it is about, such as the feature that drifted: lower-case letters, digits, ``_``, ``.``
            and ``-``, at most 64; empty where the kind says it all.
        value: Its size: a temperature, a rate, a number of windows; None without one.
    """

    kind: EventKind
    subject: str = ""
    value: float | None = None


class StoredEvent(Record, frozen=True, kw_only=True):
    """An event as it was stored.

    Attributes:
        at: ISO 8601, UTC: what the wall clock said, which may have been wrong.
        kind: See :class:`RuntimeEvent`.
        subject: See :class:`RuntimeEvent`.
        value: See :class:`RuntimeEvent`.
    """

    at: str
    kind: EventKind
    subject: str
    value: float | None


class StageFigures(Record, frozen=True, kw_only=True):
    """Milliseconds of one stage; percentiles come from a histogram and are right to about 9 %.

    Attributes:
        count: Frames in which the stage ran.
        mean_ms: Exact.
        p50_ms: Half of the frames took no longer.
        p95_ms: 95 % of the frames took no longer.
        p99_ms: 99 % of the frames took no longer.
        max_ms: Exact to a microsecond.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class TelemetryWindow(Record, frozen=True, kw_only=True):
    """About a minute of a run.

    Attributes:
        started_at: ISO 8601, UTC: a label only, since a device's clock may be wrong. Windows are in order.
        duration_s: Measured by a clock that is never set.
        frames: Frames processed.
        frames_with_poses: Frames in which a person was reported.
        persons: Reported persons, summed over the frames.
        dropped: Frames that the source dropped.
        fps: Frames a second.
        stages: Figures by stage; ``total`` is from the capture of a frame to its poses.
        persons_a_frame: Frames with 0, 1, 2 ... persons; the last entry counts ``MANY_PERSONS`` and more.
        temperature_celsius: The hottest zone at the window's end, None where it is unknown.
        throttled: Whether the firmware slowed the device down then, None where it is unknown.
    """

    started_at: str
    duration_s: float
    frames: int
    frames_with_poses: int
    persons: int
    dropped: int
    fps: float
    stages: dict[TimedStage, StageFigures]
    persons_a_frame: tuple[int, ...]
    temperature_celsius: float | None
    throttled: bool | None


class LatencyBucket(Record, frozen=True, kw_only=True):
    """One bar: frames above the bucket before and up to ``up_to_ms``; None is without limit."""

    up_to_ms: float | None
    frames: int


class TelemetryTotals(Record, frozen=True, kw_only=True):
    """All shown windows together."""

    duration_s: float
    frames: int
    frames_with_poses: int
    persons: int
    dropped: int
    fps: float
    stages: dict[TimedStage, StageFigures]
    persons_a_frame: tuple[int, ...]
    latency_histogram: tuple[LatencyBucket, ...]


class TelemetryReport(Record, frozen=True, kw_only=True):
    """``telemetry show --json`` and ``telemetry export``.

    Attributes:
        schema: ``edgepose.telemetry/1``.
        root: The device root.
        size_bytes: Of the stored files.
        windows: Oldest first.
        totals: All these windows together, None without one.
        events: Oldest first.
    """

    root: str
    size_bytes: int
    windows: tuple[TelemetryWindow, ...]
    totals: TelemetryTotals | None
    events: tuple[StoredEvent, ...]
    schema: Literal["edgepose.telemetry/1"] = "edgepose.telemetry/1"
