"""Do two random halves of the pictures give the same activation ranges?

Where they do not, the ranges hang on which pictures were drawn, and so does the quantized model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.tensor_errors import KeptTensors
from edgepose.inference.backend import Backend
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.model_file import detect_format
from edgepose.spec.data_audit import RangeStability, UnstableTensor
from edgepose.spec.model_spec import InputSpec

MAX_CROPS_EACH = 32
_SHOWN = 10
_FEWEST_FOR_RANKS = 3
# A tensor that is zero in one half and not in the other has no finite ratio.
_LARGEST_RATIO = 1e6

Ranges = dict[str, float]


def range_stability(
    model: Path, backend: Backend, spec: InputSpec, samples: Sequence[CropSample], seed: int
) -> RangeStability | None:
    """Runs a float model on two random halves of the crops.

    Args:
        model: The file, TFLite or ONNX.
        backend: The same model loaded, for its input tensor.
        spec: How it wants its picture.
        samples: Crops; each half takes at most ``MAX_CROPS_EACH``.
        seed: Of the split.

    Returns:
        None with fewer than two crops.

    Raises:
        ConfigError: A picture vanished.
        ModelError: The model cannot be run tensor by tensor.
    """
    order = np.random.default_rng(seed).permutation(len(samples))[: 2 * MAX_CROPS_EACH]
    each = len(order) // 2
    if each == 0:
        return None
    halves = [order[:each], order[each : 2 * each]]
    first, second = (
        _ranges(_reader(model), RepresentativeInputs(spec, backend.input, [samples[i] for i in half]))
        for half in halves
    )
    return _compared(first, second, (sha256_of_model(model), each, seed))


def _reader(model: Path) -> KeptTensors:
    if detect_format(model) == "tflite":
        from edgepose.inference.backends.litert_tensors import TfliteTensors

        return TfliteTensors(model)
    from edgepose.host.quantize.tensors_onnx import OnnxTensors

    return OnnxTensors(model)


def _ranges(reader: KeptTensors, inputs: RepresentativeInputs) -> Ranges:
    """Tensor to the width of its range over all inputs, zero included as in every quantizer."""
    low: Ranges = {}
    high: Ranges = {}
    for values in inputs:
        reader.run(values)
        for name in reader.names():
            tensor = reader.tensor(name)
            low[name] = min(low.get(name, 0.0), float(tensor.min()))
            high[name] = max(high.get(name, 0.0), float(tensor.max()))
    return {name: high[name] - low[name] for name in high}


def _compared(first: Ranges, second: Ranges, about: tuple[str, int, int]) -> RangeStability | None:
    names = [name for name in first if name in second and max(first[name], second[name]) > 0]
    if not names:
        return None
    tensors = [_tensor(name, first[name], second[name]) for name in names]
    ratios = np.array([tensor.ratio for tensor in tensors])
    return RangeStability(
        model_sha256=about[0],
        crops_each=about[1],
        seed=about[2],
        tensors=len(tensors),
        median_ratio=round(float(np.median(ratios)), 4),
        p95_ratio=round(float(np.percentile(ratios, 95)), 4),
        worst_ratio=round(float(ratios.max()), 4),
        rank_correlation=_rank_correlation(first, second, names),
        worst=tuple(sorted(tensors, key=lambda tensor: (-tensor.ratio, tensor.name))[:_SHOWN]),
    )


def _tensor(name: str, first: float, second: float) -> UnstableTensor:
    narrow, wide = sorted((first, second))
    ratio = min(wide / narrow, _LARGEST_RATIO) if narrow > 0 else _LARGEST_RATIO
    return UnstableTensor(name=name, first_range=first, second_range=second, ratio=round(ratio, 4))


def _rank_correlation(first: Ranges, second: Ranges, names: Sequence[str]) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, equal values sharing their mean rank."""
    if len(names) < _FEWEST_FOR_RANKS:
        return None
    ranks = [_ranks(np.array([ranges[name] for name in names])) for ranges in (first, second)]
    if not all(rank.std() for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
