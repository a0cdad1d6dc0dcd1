"""Ranges of tensors against plain numpy on values whose distribution is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.quantize.tensor_ranges import BINS, Histogram, histogram, ranges_of
from edgepose.runtime.activation_statistics import ChannelStatistics, channel_statistics

COUNT = 40_000


def normal() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0.5, 1.0, COUNT).astype(np.float32)


def half_normal() -> NDArray[np.float32]:
    return np.maximum(normal(), 0)


def with_outlier() -> NDArray[np.float32]:
    values = np.random.default_rng(1).normal(0.0, 1.0, COUNT).astype(np.float32)
    values[17] = 60.0
    return values


def uniform() -> NDArray[np.float32]:
    return np.random.default_rng(2).uniform(-3.0, 5.0, COUNT).astype(np.float32)


DISTRIBUTIONS = {f.__name__: f for f in (normal, half_normal, with_outlier, uniform)}


def spread(values: NDArray[np.float32], weights: NDArray[Any] | None = None) -> Histogram:
    low, high = float(values.min()), float(values.max())
    return Histogram(low, high, histogram(values, low, high, weights))


def found(method: Any, values: NDArray[np.float32]) -> tuple[float, float]:
    statistics = {"t": channel_statistics(values.reshape(1, -1, 1, 1), 3)}
    return ranges_of(statistics, method, {"t": spread(values)})["t"]


def noise(values: NDArray[np.float32], low: float, high: float) -> float:
    """What int8 in this range really does to the values."""
    step = (high - low) / 255
    rounded = np.round((np.clip(values, low, high) - low) / step) * step + low
    return float(np.square(rounded - values).mean())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentile_cuts_a_ten_thousandth_off_either_end(name: str) -> None:
    values = DISTRIBUTIONS[name]()
    low, high = found("percentile", values)
    bin_width = float(values.max() - values.min()) / BINS
    assert (values < low - bin_width).mean() <= 1e-4
    assert (values > high + bin_width).mean() <= 1e-4
    assert low == 0.0 or (values <= low + bin_width).mean() >= 1e-4
    assert high == 0.0 or (values >= high - bin_width).mean() >= 1e-4


def test_percentile_drops_a_single_outlier_and_minmax_does_not() -> None:
    values = with_outlier()
    assert found("minmax", values)[1] == 60.0
    assert found("percentile", values)[1] < 10.0


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_is_as_quiet_as_the_quietest_range_of_a_plain_search(name: str) -> None:
    values = DISTRIBUTIONS[name]()
    low, high = found("mse", values)
    least, greatest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    shares = np.linspace(0.2, 1.0, 17)
    lows = np.unique(least * shares)
    quietest = min(noise(values, a, b) for a in lows for b in greatest * shares)
    assert noise(values, low, high) <= 1.15 * quietest
    assert noise(values, low, high) <= 1.01 * noise(values, least, greatest)


def test_mse_of_uniform_values_cuts_nothing() -> None:
    values = uniform()
    assert found("mse", values) == pytest.approx((values.min(), values.max()), rel=0.03)


def divergence(values: NDArray[np.float32], share: float) -> float:
    """Kullback-Leibler divergence between the values, clipped, and what 255 steps leave of them."""
    counts, edges = np.histogram(values, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    reach = np.maximum([-min(edges[0], 0), max(edges[-1], 0)], 0) * share
    inside = np.flatnonzero((centres >= -reach[0]) & (centres <= reach[1]))
    clipped = counts[inside].astype(float)
    clipped[0] += counts[: inside[0]].sum()
    clipped[-1] += counts[inside[-1] + 1 :].sum()
    coarse = np.zeros(len(inside))
    for group in range(255):
        members = [i for i in range(len(inside)) if i * 255 // len(inside) == group and counts[inside[i]]]
        coarse[members] = counts[inside[members]].sum() / max(len(members), 1)
    p, q = clipped / clipped.sum(), coarse / coarse.sum()
    alive = p > 0
    return float((p[alive] * np.log(p[alive] / np.maximum(q[alive], 1e-12))).sum())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy_loses_as_little_as_a_plain_search(name: str) -> None:
    values = DISTRIBUTIONS[name]()
    low, high = found("entropy", values)
    share = high / max(float(values.max()), 0.0)
    assert low == pytest.approx(share * min(float(values.min()), 0.0))
    least = min(divergence(values, s) for s in np.linspace(0.2, 1.0, 9))
    assert divergence(values, share) <= least + 1e-3


def test_average_and_minmax_are_those_of_crops() -> None:
    random = np.random.default_rng(5)
    crops = [random.normal(size=(1, 4, 4, 3)).astype(np.float32) * (1 + n) for n in range(4)]
    known = channel_statistics(crops[0], 3)
    for crop in crops[1:]:
        known.add(channel_statistics(crop, 3))
    average = ranges_of({"t": known}, "average")["t"]
    assert average[0] == pytest.approx(np.mean([crop.min() for crop in crops]), rel=1e-6)
    assert average[1] == pytest.approx(np.mean([crop.max() for crop in crops]), rel=1e-6)
    assert ranges_of({"t": known}, "minmax")["t"] == (
        min(float(crop.min()) for crop in crops),
        max(float(crop.max()) for crop in crops),
    )
    # The widest channel's average is narrower, which is why it is not taken.
    assert known.high.max() < average[1]


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_range_always_holds_zero(method: str) -> None:
    positive = np.random.default_rng(3).uniform(10, 11, COUNT).astype(np.float32)
    low, high = found(method, positive)
    assert low == 0.0
    assert 10 < high <= 11
    low, high = found(method, -positive)
    assert high == 0.0
    assert -11 <= low < -10


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_constant_tensor_has_a_range_that_holds_it(method: str, value: float) -> None:
    low, high = found(method, np.full(100, value, np.float32))
    assert low <= value + 1e-6
    assert high >= value - 1e-6


def test_histogram_counts_what_numpy_counts() -> None:
    values = normal().reshape(1, 100, 100, 4)
    ours = histogram(values, float(values.min()), float(values.max()), None)
    expected, _ = np.histogram(values, BINS)
    assert ours.sum() == values.size
    # A value on an edge may fall on either side in float32.
    assert np.abs(np.cumsum(ours) - np.cumsum(expected)).max() <= 4


def test_channel_that_does_not_matter_sets_no_range() -> None:
    values = np.random.default_rng(0).normal(size=(1, 100, 100, 2)).astype(np.float32)
    values[..., 1] *= 30
    ends = float(values.min()), float(values.max())
    equal = Histogram(*ends, histogram(values, *ends, None))
    weighted = Histogram(*ends, histogram(values, *ends, np.array([2.0, 0.0]).reshape(1, 1, 1, 2)))
    statistics = {"t": channel_statistics(values, 3)}
    assert ranges_of(statistics, "percentile", {"t": equal})["t"][1] > 50
    assert ranges_of(statistics, "percentile", {"t": weighted})["t"][1] < 6


@pytest.mark.parametrize("method", ["average", "minmax", "percentile"])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(method: Any, broken: float) -> None:
    values = np.ones((1, 2, 2, 3), np.float32)
    values[0, 0, 0, 1] = broken
    statistics: dict[str, ChannelStatistics] = {
        "fine": channel_statistics(np.ones((1, 2, 2, 3), np.float32), 3),
        "broken_one": channel_statistics(values, 3),
    }
    with pytest.raises(ModelError, match=r"NaN or infinity in tensor 'broken_one' \(1 tensors"):
        ranges_of(statistics, method, {})
    del statistics["broken_one"]
    assert ranges_of(statistics, method, {}) == {"fine": (1.0, 1.0)}


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy", "none"])
def test_method_that_needs_pictures_is_refused_without(method: Any) -> None:
    statistics = {"t": channel_statistics(np.ones((1, 2, 2, 3), np.float32), 3)}
    with pytest.raises(ConfigError, match=f"'{method}' cannot be used here; expected average or minmax"):
        ranges_of(statistics, method)
