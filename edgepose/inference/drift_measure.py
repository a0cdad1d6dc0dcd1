"""How far two histograms are apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.inference.drift_features import FEATURES
from edgepose.spec.drift_record import FeatureHistogram, FeatureName

# So much of a sample is put into each place before shares are taken: a place nobody was at has no logarithm.
_PRIOR = 0.5


def histogram(feature: FeatureName, samples: Sequence[float]) -> FeatureHistogram:
    """Counts samples; one between two places counts for both, the more the nearer.

    Hard bins would move a whole window at once when its values creep over an edge. This way the distance
    between two narrow windows grows evenly with their shift.

    Args:
        feature: Whose places.
        samples: Finite values.
    """
    places = np.array(FEATURES[feature].places)
    weights = np.zeros(len(places))
    values = np.clip(np.asarray(samples, np.float64), places[0], places[-1])
    right = np.clip(np.searchsorted(places, values, side="right"), 1, len(places) - 1)
    share = (values - places[right - 1]) / (places[right] - places[right - 1])
    np.add.at(weights, right, share)
    np.add.at(weights, right - 1, 1.0 - share)
    return FeatureHistogram(weights=tuple(np.round(weights, 4).tolist()), samples=float(len(values)))


def merged(first: FeatureHistogram, second: FeatureHistogram) -> FeatureHistogram:
    """Both together."""
    weights = tuple(round(a + b, 4) for a, b in zip(first.weights, second.weights, strict=True))
    return FeatureHistogram(weights=weights, samples=first.samples + second.samples)


def psi(expected: FeatureHistogram, found: FeatureHistogram) -> float:
    """Population stability index: the sum of (q - p) ln(q / p) over the places' shares (Siddiqi 2006).

    Half a sample in each place keeps it finite; it is symmetric and 0 for equal shares.
    """
    p, q = _shares(expected, _PRIOR), _shares(found, _PRIOR)
    return float(((q - p) * np.log(q / p)).sum())


def ks(expected: FeatureHistogram, found: FeatureHistogram) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest difference of the cumulated shares, 0 to 1."""
    difference = np.cumsum(_shares(expected)) - np.cumsum(_shares(found))
    return float(np.abs(difference).max())


def outside(expected: FeatureHistogram, found: FeatureHistogram, tail: float = 0.01) -> float:
    """Share of the found values beyond the expected ones' quantiles ``tail`` and ``1 - tail``."""
    cumulated = np.cumsum(_shares(expected))
    inside = (cumulated > tail) & (np.concatenate([[0.0], cumulated[:-1]]) < 1.0 - tail)
    # A narrow expectation stands on two places by its nature, and its neighbours are still near it.
    near = inside.copy()
    near[1:] |= inside[:-1]
    near[:-1] |= inside[1:]
    return float(_shares(found)[~near].sum())


def median(feature: FeatureName, counted: FeatureHistogram) -> float:
    """The value that half of the samples stay below, between the places by a straight line."""
    shares = _shares(counted)
    # A place stands for what lies around it, so half of its share lies before it.
    return float(np.interp(0.5, np.cumsum(shares) - shares / 2, FEATURES[feature].places))


def _shares(counted: FeatureHistogram, prior: float = 0.0) -> NDArray[np.float64]:
    weights = np.asarray(counted.weights, np.float64) + prior
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights))
