"""The record of ``edgepose benchmark``."""

from __future__ import annotations

from edgepose.records.record import Record


class BackendRecord(Record, frozen=True, kw_only=True):
    """What really ran the model."""

    runtime: str
    version: str
    delegate_used: str
    ops_total: int
    ops_on_cpu: int


class LatencyRecord(Record, frozen=True, kw_only=True):
    """Percentiles of the time per frame, in milliseconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float


class StageRecord(Record, frozen=True, kw_only=True):
    """Median time per stage, in milliseconds."""

    preprocess: float
    infer: float
    decode: float


class BenchmarkedModel(Record, frozen=True, kw_only=True):
    """The measured file.

    Attributes:
        paradigm: As its spec says: ``top_down``, ``detector`` and so on; None in older records.
    """

    sha256: str
    name: str
    paradigm: str | None = None


class BenchmarkDevice(Record, frozen=True, kw_only=True):
    """The machine that was measured.

    Attributes:
        arch: ``uname -m``.
        model: Board or CPU name, or None.
        cpu_governor: Frequency governor of the first core, or None.
        profile: The profile that was asked for, or None.
        is_profile_device: Whether this machine is that device; figures of another machine say nothing
            about the device.
    """

    arch: str
    model: str | None
    cpu_governor: str | None
    profile: str | None
    is_profile_device: bool | None


class WarmUpRecord(Record, frozen=True, kw_only=True):
    """The frames before the timed ones, the first inference among them."""

    samples: int
    duration_s: float


class ConditionRecord(Record, frozen=True, kw_only=True):
    """A machine at a moment, or the worst of a time.

    Attributes:
        temperature_celsius: Hottest thermal zone.
        cpu_mhz: Mean frequency of the cores; the lowest of a time.
        throttle_flags: What slowed it; None where nothing on the machine could say so.
    """

    temperature_celsius: float | None
    cpu_mhz: float | None
    throttle_flags: tuple[str, ...] | None


class ConditionsRecord(Record, frozen=True, kw_only=True):
    """The machine before, during and after the timed frames; ``during`` is None where that was too short."""

    before: ConditionRecord
    during: ConditionRecord | None
    after: ConditionRecord


class TimelinePoint(Record, frozen=True, kw_only=True):
    """A piece of the measured time.

    Attributes:
        start_s: Since the first timed frame.
        duration_s: Its length.
        samples: Frames that ended in it.
        p50_ms: Their median; None without one.
        temperature_celsius: Hottest thermal zone in it.
        cpu_mhz: Lowest mean frequency of the cores in it.
        throttled: Whether anything slowed the machine in it.
    """

    start_s: float
    duration_s: float
    samples: int
    p50_ms: float | None
    temperature_celsius: float | None
    cpu_mhz: float | None
    throttled: bool | None


class EnergyRecord(Record, frozen=True, kw_only=True):
    """Energy of the whole board or processor over the timed frames, with what it takes at rest.

    Attributes:
        source: What was read.
        joules: In all.
        joules_per_inference: Over the number of samples.
        watts: On average.
    """

    source: str
    joules: float
    joules_per_inference: float
    watts: float


class FrameAgeRecord(Record, frozen=True, kw_only=True):
    """End to end: from the capture of a frame to its poses, through the runtime that ships.

    Attributes:
        source: The camera or video, without a password.
        played: Whether it was a video, played at its own rate as a camera would deliver it.
        source_fps: Frames a second of the source, or None where it says none.
        frames: Timed frames.
        dropped: Frames that a newer one replaced before the models were free.
        duration_s: Time they took together.
        age_ms: Age of a frame when its poses are known.
        detector: Whether a person detector was part of it.
    """

    source: str
    played: bool
    source_fps: float | None
    frames: int
    dropped: int
    duration_s: float
    age_ms: LatencyRecord
    detector: bool


class BenchmarkReport(Record, frozen=True, kw_only=True):
    """``edgepose.benchmark/1``. What the machine cannot measure is None.

    Attributes:
        samples: Number of timed frames.
        duration_s: Time they took together.
        load_ms: From opening the file to a model that is ready.
        first_inference_ms: The first frame, which is not among the samples.
        latency_ms: Image to poses, or to person boxes.
        stages_ms: The parts of it.
        peak_rss_mib: Highest resident memory of this process up to the 1,024th sample.
        retention: Speed of the last tenth of the samples over that of the first tenth.
        temperature_celsius: Hottest thermal zone at the end.
        throttled: Whether anything slowed the machine meanwhile.
        complete: Whether it was at least 1,024 samples and 60 s, as MLPerf Mobile's single stream asks.
        warm_up: What went before.
        retention_10_min: Speed of the last minute over that of the first, where it ran for 10 minutes.
        conditions: Heat, frequency and throttling before, during and after.
        timeline: Speed and heat over the time.
        energy: Where a sensor exists.
        frame_age: Where a source was given.
    """

    schema: str
    backend: BackendRecord
    threads: int
    samples: int
    duration_s: float
    load_ms: float
    first_inference_ms: float
    latency_ms: LatencyRecord
    stages_ms: StageRecord
    peak_rss_mib: float
    retention: float | None
    temperature_celsius: float | None
    throttled: bool | None
    model: BenchmarkedModel
    device: BenchmarkDevice
    complete: bool = False
    warm_up: WarmUpRecord | None = None
    retention_10_min: float | None = None
    conditions: ConditionsRecord | None = None
    timeline: tuple[TimelinePoint, ...] = ()
    energy: EnergyRecord | None = None
    frame_age: FrameAgeRecord | None = None
