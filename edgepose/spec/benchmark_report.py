"""The record of ``edgepose benchmark``."""

from __future__ import annotations

from edgepose.spec.records import Record


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
    """The measured file."""

    sha256: str
    name: str


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


class BenchmarkReport(Record, frozen=True, kw_only=True):
    """``edgepose.benchmark/1``. What the machine cannot measure is None.

    Attributes:
        samples: Number of timed frames.
        duration_s: Time they took together.
        load_ms: From opening the file to a model that is ready.
        first_inference_ms: The first frame, which is not among the samples.
        latency_ms: Picture to poses.
        stages_ms: The parts of it.
        peak_rss_mib: Highest resident memory of this process.
        retention: Speed of the last tenth of the samples over that of the first tenth.
        temperature_celsius: Hottest thermal zone at the end.
        throttled: Whether the firmware reports throttling.
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
