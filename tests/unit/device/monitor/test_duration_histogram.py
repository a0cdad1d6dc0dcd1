"""Durations as counts in buckets, against exact percentiles."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.device.monitor.window import BOUNDS_MS, BUCKETS, DurationHistogram

_DURATIONS = st.lists(st.floats(0.07, 60_000.0), min_size=1, max_size=200)


def histogram_of(durations: list[float]) -> DurationHistogram:
    made = DurationHistogram()
    for duration in durations:
        made.add(duration)
    return made


@settings(max_examples=60, deadline=None)
@given(_DURATIONS, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_lies_within_one_bucket_of_the_exact_one(durations: list[float], share: float) -> None:
    exact = float(np.percentile(durations, share * 100, method="inverted_cdf"))
    found = histogram_of(durations).percentile_ms(share)
    assert abs(math.log2(found / exact)) <= 0.25 + 1e-3


@settings(max_examples=40, deadline=None)
@given(_DURATIONS, _DURATIONS)
def test_merged_histograms_equal_the_histogram_of_all(first: list[float], second: list[float]) -> None:
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    whole = histogram_of(first + second)
    assert (merged.counts, merged.sum_us, merged.max_us) == (whole.counts, whole.sum_us, whole.max_us)


def test_mean_and_maximum_are_exact() -> None:
    figures = histogram_of([1.0, 2.0, 9.0]).figures()
    assert (figures.count, figures.mean_ms, figures.max_ms) == (3, 4.0, 9.0)
    assert figures.p99_ms <= 9.0


def test_everything_has_a_bucket() -> None:
    extremes = histogram_of([-1.0, 0.0, 1e-9, 1e9])
    assert extremes.count == 4
    assert all(0 <= bucket < BUCKETS for bucket in extremes.counts)
    assert extremes.sum_us >= 0
    assert DurationHistogram().percentile_ms(0.5) == 0.0


def test_bars_go_from_the_first_to_the_last_without_a_gap() -> None:
    bars = histogram_of([1.0, 4.0, 1e9]).buckets()
    assert sum(bar.frames for bar in bars) == 3
    assert bars[-1].up_to_ms is None
    assert [bar.up_to_ms for bar in bars[:-1]] == [round(bound, 4) for bound in BOUNDS_MS[16:]]
