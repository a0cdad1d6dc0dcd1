"""How long a benchmark is, and what became of the speed over its time: pure.

MLPerf Mobile's rule for the single stream (Reddi et al., "MLPerf Mobile Inference Benchmark", 2022, and
MLCommons' inference rules): at least 1,024 samples and 60 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.records.benchmark_report import ConditionRecord, ConditionsRecord, TimelinePoint
from edgepose.runtime.energy import Watched
from edgepose.runtime.machine import SensorReading, slowed_between

MLPERF_SAMPLES = 1024
MLPERF_DURATION_S = 60.0


@dataclass(frozen=True)
class BenchmarkLength:
    """When a measurement has lasted long enough.

    Attributes:
        duration_s: Shortest time.
        samples: Fewest timed frames.
    """

    duration_s: float = MLPERF_DURATION_S
    samples: int = MLPERF_SAMPLES

    def reached(self, duration_s: float, samples: int) -> bool:
        """Whether both are reached."""
        return duration_s >= self.duration_s and samples >= self.samples


RULE = BenchmarkLength()


def length_asked(duration_s: float | None, samples: int | None) -> BenchmarkLength:
    """The rule's length, unless someone asks for another.

    Who asks for less time or fewer samples than the rule does gets just that; who asks for more gets the rest
    of the rule, too.
    """
    if duration_s is None and samples is None:
        return RULE
    short_time = duration_s is not None and duration_s < RULE.duration_s
    few_samples = samples is not None and samples < RULE.samples
    return BenchmarkLength(
        duration_s=duration_s if duration_s is not None else (0.0 if few_samples else RULE.duration_s),
        samples=samples if samples is not None else (1 if short_time else RULE.samples),
    )


Times = NDArray[np.float64]

RETENTION_DURATION_S = 600.0
_MINUTE_S = 60.0
# A plot has room for about so many.
_MOST_POINTS = 300
_SHORTEST_POINT_S = 1.0
_FEWEST_OF_A_TENTH = 10


def retention_of_tenths(times_ms: Times) -> float | None:
    """Speed of the last tenth of the samples over that of the first; None with fewer than 100."""
    part = len(times_ms) // 10
    if part < _FEWEST_OF_A_TENTH:
        return None
    return float(np.median(times_ms[:part]) / np.median(times_ms[-part:]))


def retention_of_minutes(times_ms: Times, ends_s: Times) -> float | None:
    """Speed of the last minute over that of the first.

    Args:
        times_ms: (N,) time of each sample.
        ends_s: (N,) when each ended, rising.

    Returns:
        1 where nothing was lost; None under 10 minutes.
    """
    if len(ends_s) == 0 or ends_s[-1] < RETENTION_DURATION_S:
        return None
    first, last = times_ms[ends_s <= _MINUTE_S], times_ms[ends_s > ends_s[-1] - _MINUTE_S]
    # One sample may take longer than a minute.
    return float(np.median(first) / np.median(last)) if len(first) else None


def conditions_of(watched: Watched) -> ConditionsRecord:
    """Before, during and after; during means the hottest, the slowest and all that slowed it."""
    readings = [reading for _, reading in watched.during]
    during = _worst(readings) if readings else None
    return ConditionsRecord(before=_worst([watched.before]), during=during, after=_worst([watched.after]))


def was_throttled(watched: Watched) -> bool | None:
    """Whether anything slowed the machine from before to after; None where nothing on it could say so."""
    slowed = slowed_between(watched.all_readings)
    return None if slowed is None else bool(slowed)


def timeline_of(times_ms: Times, ends_s: Times, watched: Watched) -> tuple[TimelinePoint, ...]:
    """Speed and heat in pieces of at least a second, at most 300 of them.

    Args:
        times_ms: (N,) time of each sample, at least one.
        ends_s: (N,) when each ended, rising.
        watched: Readings on the same clock.
    """
    duration_s = float(ends_s[-1])
    count = max(1, min(_MOST_POINTS, int(duration_s / _SHORTEST_POINT_S)))
    edges = np.linspace(0.0, duration_s, count + 1)
    # The last sample ends on the last edge.
    pieces = np.split(times_ms, np.searchsorted(ends_s, edges[1:-1], side="right"))
    readings: list[list[SensorReading]] = [[] for _ in range(count)]
    for at_s, reading in watched.during:
        readings[min(int(at_s / duration_s * count), count - 1)].append(reading)
    return tuple(
        _point((float(start), float(end)), piece, seen)
        for start, end, piece, seen in zip(edges, edges[1:], pieces, readings, strict=False)
    )


def _point(span_s: tuple[float, float], times_ms: Times, readings: Sequence[SensorReading]) -> TimelinePoint:
    worst = _worst(readings)
    return TimelinePoint(
        start_s=round(span_s[0], 3),
        duration_s=round(span_s[1] - span_s[0], 3),
        samples=len(times_ms),
        p50_ms=round(float(np.median(times_ms)), 4) if len(times_ms) else None,
        temperature_celsius=worst.temperature_celsius,
        cpu_mhz=worst.cpu_mhz,
        throttled=None if worst.throttle_flags is None else bool(worst.throttle_flags),
    )


def _worst(readings: Sequence[SensorReading]) -> ConditionRecord:
    slowed = slowed_between(readings)
    return ConditionRecord(
        temperature_celsius=max(
            (r.temperature_celsius for r in readings if r.temperature_celsius is not None), default=None
        ),
        cpu_mhz=min((r.cpu_mhz for r in readings if r.cpu_mhz is not None), default=None),
        throttle_flags=None if slowed is None else tuple(sorted(slowed)),
    )
