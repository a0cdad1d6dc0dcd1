"""How long things take, as counts in fixed buckets: adding is cheap, memory is flat, histograms add up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from edgepose.spec.telemetry_record import LatencyBucket, StageFigures

# Four buckets an octave from 1/16 ms to 65.5 s: a percentile is within a factor of 2 ** (1 / 4) of the truth,
# half of that in the middle. A last bucket without an upper bound follows.
BOUNDS_MS: tuple[float, ...] = tuple(2.0 ** (quarter / 4) for quarter in range(-16, 65))
BUCKETS = len(BOUNDS_MS) + 1
_US_PER_MS = 1000


class DurationHistogram:
    """Counts durations.

    Attributes:
        counts: Bucket to count; empty buckets are left out.
        sum_us: Sum of all durations.
        max_us: The longest one.
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
        """The duration that ``share`` of all durations do not exceed; 0 where there is none.

        Within a bucket durations are taken to lie evenly on a logarithmic scale.

        Args:
            share: From 0 to 1.
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
