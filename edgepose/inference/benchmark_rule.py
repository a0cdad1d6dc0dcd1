"""How long a benchmark is: pure.

MLPerf Mobile's rule for the single stream (Reddi et al., "MLPerf Mobile Inference Benchmark", 2022, and
MLCommons' inference rules): at least 1,024 samples and 60 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """The rule's length, unless somebody asks for another.

    Who asks for less time or fewer samples than the rule does gets just that; who asks for more gets the rest
    of the rule, too.

    Args:
        duration_s: Seconds asked for, or None.
        samples: Samples asked for, or None.
    """
    if duration_s is None and samples is None:
        return RULE
    short_time = duration_s is not None and duration_s < RULE.duration_s
    few_samples = samples is not None and samples < RULE.samples
    return BenchmarkLength(
        duration_s=duration_s if duration_s is not None else (0.0 if few_samples else RULE.duration_s),
        samples=samples if samples is not None else (1 if short_time else RULE.samples),
    )
