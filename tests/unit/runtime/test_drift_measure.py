"""Distances of histograms against their closed forms and against the samples themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.records.drift_record import FeatureHistogram
from edgepose.runtime.drift_features import FEATURES, histogram, ks, median, merged, outside, psi

_SHARES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60)


def counted(*weights: float) -> FeatureHistogram:
    """Weights at the first places of a feature with eleven."""
    full = (*weights, *[0.0] * (11 - len(weights)))
    return FeatureHistogram(weights=full, samples=sum(full))


@given(_SHARES)
def test_a_histogram_counts_every_sample_and_keeps_their_mean(samples: list[float]) -> None:
    found = histogram("brightness", samples)
    weights, places = np.array(found.weights), np.array(FEATURES["brightness"].places)
    assert found.samples == len(samples)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(len(samples), abs=0.01)
    # Sharing a sample between its two neighbours leaves its mean where it was.
    assert (weights @ places) / weights.sum() == pytest.approx(np.mean(samples), abs=0.01)


def test_values_beyond_the_ends_count_at_the_ends() -> None:
    assert histogram("persons", [99.0]).weights[-1] == 1.0
    assert histogram("persons", [-3.0]).weights[0] == 1.0


def test_psi_is_the_sum_over_shares_written_out() -> None:
    # Half a sample is added to each of eleven places.
    p, q = np.array([30.5, 10.5, *[0.5] * 9]) / 45.5, np.array([10.5, 30.5, *[0.5] * 9]) / 45.5
    assert psi(counted(30, 10), counted(10, 30)) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert psi(counted(30, 10), counted(30, 10)) == 0.0


@given(_SHARES, _SHARES)
def test_both_distances_are_symmetric_and_not_negative(first: list[float], second: list[float]) -> None:
    a, b = histogram("brightness", first), histogram("brightness", second)
    assert psi(a, b) >= 0
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert 0 <= ks(a, b) <= 1 + 1e-9
    assert ks(a, b) == pytest.approx(ks(b, a))


def test_ks_on_places_is_the_distance_of_the_empirical_distributions() -> None:
    rng = np.random.default_rng(0)
    places = np.array(FEATURES["brightness"].places)
    # Samples that lie on places are not shared, so the textbook's two-sample statistic must come out.
    first, second = rng.choice(places[:8], 500), rng.choice(places[2:], 300)
    textbook = max(abs((first <= at).mean() - (second <= at).mean()) for at in places)
    found = ks(histogram("brightness", first.tolist()), histogram("brightness", second.tolist()))
    assert found == pytest.approx(textbook, abs=1e-3)
    assert textbook > 0.1


def test_two_halves_are_the_whole() -> None:
    samples = np.random.default_rng(1).random(40).tolist()
    halves = merged(histogram("brightness", samples[:20]), histogram("brightness", samples[20:]))
    whole = histogram("brightness", samples)
    assert halves.samples == whole.samples
    assert np.allclose(halves.weights, whole.weights, atol=1e-3)


def test_outside_is_the_share_beyond_what_was_expected() -> None:
    expected = histogram("brightness", np.random.default_rng(2).uniform(0.4, 0.6, 300).tolist())
    assert outside(expected, expected) == pytest.approx(0.0, abs=0.02)
    assert outside(expected, histogram("brightness", [0.05] * 30 + [0.5] * 10)) == pytest.approx(0.75)


@given(st.floats(0.0, 12.0))
def test_the_median_of_equal_samples_is_their_value(value: float) -> None:
    assert median("persons", histogram("persons", [value] * 30)) == pytest.approx(value, abs=0.26)


def test_the_median_of_many_samples_is_theirs() -> None:
    samples = np.random.default_rng(3).normal(0.43, 0.1, 1000)
    assert median("brightness", histogram("brightness", samples.tolist())) == pytest.approx(0.43, abs=0.02)
