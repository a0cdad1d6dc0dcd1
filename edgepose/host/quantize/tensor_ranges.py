"""Ranges of whole tensors, from statistics or histograms, measured here or sent by a device.

The average is taken of each crop's extremes over the whole tensor. The widest channel's average would be
narrower: in an equalized network all channels reach about equally far on average, and on every crop some
channel reaches further (measured on TinyPose-256 in ONNX: 56.9 AP against 61.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.records.lineage import RangeMethod
from edgepose.records.quantization import ActivationRanges, require_enough_crops
from edgepose.records.record import read_json
from edgepose.runtime.activation_statistics import (
    ChannelStatistics,
    collect_statistics,
    open_float_tensors,
    to_statistics,
)
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import open_backend

TensorRanges = dict[str, tuple[float, float]]

HISTOGRAM_METHODS = frozenset({"percentile", "mse", "entropy"})
BINS = 1024
_STEPS = 255
_CUT = 1e-4
# Ends that are tried, as shares of the whole range.
_SHARES = np.linspace(0.2, 1.0, 33)
# Rounds of improving one end after the other: the ends hardly depend on each other.
_ROUNDS = 2


@dataclass(frozen=True)
class Histogram:
    """How the values of a tensor are spread.

    Attributes:
        low: Left edge of the first bin.
        high: Right edge of the last bin.
        counts: float64 (BINS,), weighted by how much noise in the value's channel matters.
    """

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of every bin."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS


def histogram(
    values: NDArray[np.float32], low: float, high: float, weights: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Counts values in ``BINS`` equal bins from ``low`` to ``high``, each with its weight."""
    width = max(high - low, 1e-30) / BINS
    bins = np.clip((values.reshape(-1) - np.float32(low)) / np.float32(width), 0, BINS - 1).astype(np.int32)
    spread = None if weights is None else np.broadcast_to(weights, values.shape).reshape(-1)
    return np.bincount(bins, spread, BINS).astype(np.float64)


def ranges_of(
    statistics: Mapping[str, ChannelStatistics],
    method: RangeMethod,
    histograms: Mapping[str, Histogram] | None = None,
) -> TensorRanges:
    """Least and greatest value per tensor, by a recipe's range method.

    Raises:
        ConfigError: The method needs histograms and there are none, or sets no range at all.
        ModelError: The model gave NaN or infinity.
    """
    _refuse_non_finite(statistics)
    if method == "average":
        return {name: (float(s.whole_low[0]), float(s.whole_high[0])) for name, s in statistics.items()}
    whole = {name: (float(s.lowest.min()), float(s.highest.max())) for name, s in statistics.items()}
    if method == "minmax":
        return whole
    if method not in HISTOGRAM_METHODS or histograms is None:
        raise ConfigError(
            f"Range method '{method}' cannot be used here; expected average or minmax.",
            "percentile, mse and entropy need the pictures themselves: give --calibration.",
        )
    best = {"percentile": _percentile, "mse": _least_noise, "entropy": _least_divergence}[method]
    return whole | {name: best(known) for name, known in histograms.items()}


def _refuse_non_finite(statistics: Mapping[str, ChannelStatistics]) -> None:
    broken = [
        name
        for name, known in statistics.items()
        if not (np.isfinite(known.lowest).all() and np.isfinite(known.highest).all())
    ]
    if broken:
        raise ModelError(
            f"The float model gives NaN or infinity in tensor '{broken[0]}' ({len(broken)} tensors in all) "
            "on calibration images, so it has no range.",
            "Repair the float model first.",
        )


def _percentile(known: Histogram) -> tuple[float, float]:
    share = np.cumsum(known.counts) / max(known.counts.sum(), 1e-30)
    first, last = int(np.searchsorted(share, _CUT)), int(np.searchsorted(share, 1.0 - _CUT))
    centres = known.centres
    return float(min(centres[first], 0.0)), float(max(centres[min(last, BINS - 1)], 0.0))


def _least_noise(known: Histogram) -> tuple[float, float]:
    """Clipping noise plus ``step ** 2 / 12``, each end improved in turn."""
    centres, counts = known.centres, known.counts
    total = counts.sum()
    lows, highs = min(known.low, 0.0) * _SHARES, max(known.high, 0.0) * _SHARES
    cut_low = np.maximum(lows[:, None] - centres, 0.0) ** 2 @ counts
    cut_high = np.maximum(centres - highs[:, None], 0.0) ** 2 @ counts
    low = high = len(_SHARES) - 1
    for _ in range(_ROUNDS):
        high = int((cut_high + total * (highs - lows[low]) ** 2 / _STEPS**2 / 12.0).argmin())
        low = int((cut_low + total * (highs[high] - lows) ** 2 / _STEPS**2 / 12.0).argmin())
    return float(lows[low]), float(highs[high])


def _least_divergence(known: Histogram) -> tuple[float, float]:
    """Least Kullback-Leibler divergence after clipping (Migacz, "8-bit Inference with TensorRT", 2017)."""
    divergences = [_divergence(known, share) for share in _SHARES]
    share = float(_SHARES[int(np.argmin(divergences))])
    return min(known.low, 0.0) * share, max(known.high, 0.0) * share


def _divergence(known: Histogram, share: float) -> float:
    centres = known.centres
    inside = (centres >= min(known.low, 0.0) * share) & (centres <= max(known.high, 0.0) * share)
    picked = np.flatnonzero(inside)
    if len(picked) == 0 or known.counts.sum() == 0:
        return float("inf")
    clipped = known.counts[picked].copy()
    clipped[0] += known.counts[: picked[0]].sum()
    clipped[-1] += known.counts[picked[-1] + 1 :].sum()
    group = np.arange(len(picked)) * _STEPS // len(picked)
    filled = known.counts[picked] > 0
    members = np.maximum(np.bincount(group, filled, _STEPS), 1.0)
    coarse = (np.bincount(group, known.counts[picked], _STEPS) / members)[group] * filled
    p, q = clipped / clipped.sum(), coarse / max(coarse.sum(), 1e-30)
    return float((p * np.log(np.maximum(p, 1e-12) / np.maximum(q, 1e-12))).sum())


_NAMED = 3


def read_ranges(path: Path, model: Path) -> dict[str, ChannelStatistics]:
    """Reads what ``edgepose-device calibrate`` wrote.

    Returns:
        Statistics of the input and of every float tensor, equal bit by bit to those on the device.

    Raises:
        ConfigError: The record is not whole, not finite, of another model, of too few crops, or does not
            describe exactly the model's tensors.
        ModelError: The model is damaged or not float.
    """
    record = read_json(path, ActivationRanges)
    digest = sha256_of_model(model)
    if record.model_sha256 != digest:
        raise ConfigError(
            f"{path} holds ranges of {record.model_name} {record.model_version} with sha256 "
            f"{record.model_sha256[:12]}..., but {model.name} is {digest[:12]}...",
            "Quantize the very float file that ran on the device.",
        )
    require_enough_crops(record.crops, record.distinct_crops, str(path))
    statistics = to_statistics(record)
    _require_same_tensors(path, statistics, _tensors_of(model))
    return statistics


def _tensors_of(model: Path) -> dict[str, ChannelStatistics]:
    """What a run of the model gives, on an input of zeros: only names and sizes are of use."""
    tensor = open_backend(model).input
    return collect_statistics(open_float_tensors(model), [np.zeros(tensor.shape, tensor.dtype)])


def _require_same_tensors(
    path: Path, found: Mapping[str, ChannelStatistics], expected: Mapping[str, ChannelStatistics]
) -> None:
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    resized = [name for name in expected if name in found and len(expected[name].low) != len(found[name].low)]
    problems = {"lacks": missing, "has unknown": unknown, "has another number of channels in": resized}
    for problem, names in problems.items():
        if names:
            shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            raise ConfigError(
                f"{path} {problem} {len(names)} of the model's {len(expected)} tensors: {shown}.",
                "Calibrate again with the same release of edgepose on device and host.",
            )
