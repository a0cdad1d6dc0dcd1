"""Ranges that a device sent, checked against the float model that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgepose.errors import ConfigError
from edgepose.inference.activation_statistics import ChannelStatistics, collect_statistics
from edgepose.inference.kept_tensors import open_float_tensors
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.open_model import open_backend
from edgepose.inference.range_record import to_statistics
from edgepose.spec.activation_ranges import ActivationRanges, require_enough_crops
from edgepose.spec.records import read_json

_NAMED = 3


def read_ranges(path: Path, model: Path) -> dict[str, ChannelStatistics]:
    """Reads what ``edgepose-device calibrate`` wrote.

    Args:
        path: The record.
        model: The float file that is going to be quantized.

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
