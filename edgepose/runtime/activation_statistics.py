"""What the activations of a float model look like on calibration crops, channel by channel.

The one way to these figures: the host calibrates with it and so does a device, so the same frames on the same
runtime give the same bits. The order of the crops counts, because means are carried on from crop to crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.records.quantization import ActivationRanges, TensorRanges
from edgepose.runtime.model_file import detect_format

Vector = NDArray[np.float64]
Result = TypeVar("Result")

# Wider than the layers of any pose network. A longer last axis is space laid out flat, and figures for each
# of its places would be a mean picture: such a tensor gets one figure for all of them.
MOST_CHANNELS = 2048
# Rows of a tensor are laid side by side until they are this long: reductions over short rows cost their
# overhead for every row. Measured on x86-64: 512 to 2048 are equally good.
_ROW_LENGTH = 1024
_LARGEST_BYTE = 255
_AVERAGED = ("low", "high", "mean", "mean_square", "active", "whole_low", "whole_high")


class RunsAndKeeps(Protocol):
    """A model that keeps its intermediate tensors.

    Attributes:
        channel_axis: Axis of the channels in a feature map: -1 (TFLite) or 1 (ONNX).
        input_name: Name of the input tensor.
    """

    channel_axis: int
    input_name: str

    def run(self, values: NDArray[Any]) -> None:
        """Runs the model on stored input values."""
        ...

    def names(self) -> list[str]:
        """Names of the float tensors of the last run."""
        ...

    def look_at(self, name: str, look: Callable[[NDArray[np.float32]], Result]) -> Result:
        """Lets ``look`` read one tensor of the last run in place; it must not keep the array."""
        ...


@dataclass(eq=False)
class ChannelStatistics:
    """One tensor over all crops; every array is float64 (C,).

    Attributes:
        low: Mean over the crops of each crop's smallest value.
        high: Mean over the crops of each crop's greatest value.
        lowest: Smallest value of all crops.
        highest: Greatest value of all crops.
        mean: Mean value.
        mean_square: Mean of the squared values.
        active: Share of values above 0.
        whole_low: (1,): mean over the crops of the smallest value of the whole tensor, which lies further out
            than any channel's ``low`` where the channels peak on different crops.
        whole_high: (1,): the same of the greatest value.
        crops: Number of crops.
    """

    low: Vector
    high: Vector
    lowest: Vector
    highest: Vector
    mean: Vector
    mean_square: Vector
    active: Vector
    whole_low: Vector
    whole_high: Vector
    crops: int = 1

    def add(self, other: ChannelStatistics) -> None:
        """Takes the statistics of one more crop in."""
        self.crops += 1
        share = 1.0 / self.crops
        for name in _AVERAGED:
            known = getattr(self, name)
            setattr(self, name, known + (getattr(other, name) - known) * share)
        self.lowest = np.minimum(self.lowest, other.lowest)
        self.highest = np.maximum(self.highest, other.highest)


class StatisticsCollector:
    """Statistics of every tensor, one crop after the other."""

    def __init__(self, model: RunsAndKeeps) -> None:
        self._model = model
        self.statistics: dict[str, ChannelStatistics] = {}

    def add(self, values: NDArray[Any]) -> None:
        """Runs the model on one crop's input tensor and takes all its tensors in."""
        model = self._model
        model.run(values)
        # Values that are not finite are refused by who takes the figures, in better words than a warning.
        with np.errstate(invalid="ignore", over="ignore"):
            self._take(model.input_name, self._of(values.astype(np.float32, copy=False)))
            for name in model.names():
                self._take(name, model.look_at(name, self._of))

    def _of(self, values: NDArray[np.float32]) -> ChannelStatistics:
        return channel_statistics(values, channel_axis_of(values.ndim, self._model.channel_axis))

    def _take(self, name: str, new: ChannelStatistics) -> None:
        if name in self.statistics:
            self.statistics[name].add(new)
        else:
            self.statistics[name] = new


def collect_statistics(model: RunsAndKeeps, inputs: Iterable[NDArray[Any]]) -> dict[str, ChannelStatistics]:
    """Runs a model on every input.

    Returns:
        Of the input and of every float tensor, by name.
    """
    collector = StatisticsCollector(model)
    for values in inputs:
        collector.add(values)
    return collector.statistics


def channel_axis_of(rank: int, channel_axis: int) -> int:
    """The channel axis of a tensor, counted from 0; the last one where it is no feature map."""
    return channel_axis % rank if rank == 4 else rank - 1


def channel_statistics(values: NDArray[np.float32], axis: int) -> ChannelStatistics:
    """Statistics of one tensor of one crop, per channel along ``axis``.

    A tensor of more than ``MOST_CHANNELS`` has the figures of the whole tensor in every entry.
    """
    rows = _rows(values, axis)
    channels = rows.shape[1]
    if channels <= MOST_CHANNELS:
        return _statistics(rows)
    whole = _statistics(rows.reshape(-1, 1))
    figures = (whole.low, whole.high, whole.mean, whole.mean_square, whole.active)
    low, high, mean, mean_square, active = (np.repeat(figure, channels) for figure in figures)
    return ChannelStatistics(
        low, high, low, high, mean, mean_square, active, whole.whole_low, whole.whole_high
    )


def _statistics(rows: NDArray[np.float32]) -> ChannelStatistics:
    """Of (N, C). Sums go down the columns in float32, then on in float64: a few hundred rows each."""
    count, channels = rows.shape
    side_by_side = _rows_side_by_side(count, channels)
    wide = rows.reshape(count // side_by_side, side_by_side * channels)
    apart = (side_by_side, channels)
    low = wide.min(axis=0).reshape(apart).min(axis=0).astype(np.float64)
    high = wide.max(axis=0).reshape(apart).max(axis=0).astype(np.float64)
    total = wide.sum(axis=0).reshape(apart).sum(axis=0, dtype=np.float64)
    power = np.einsum("nc,nc->c", wide, wide).reshape(apart).sum(axis=0, dtype=np.float64)
    # Bytes are added without a cast where none can overflow.
    narrow = np.uint8 if len(wide) <= _LARGEST_BYTE else np.uint32
    positive = np.add.reduce((wide > 0).view(np.uint8), axis=0, dtype=narrow)
    active = positive.reshape(apart).sum(axis=0, dtype=np.int64)
    return ChannelStatistics(
        low=low,
        high=high,
        lowest=low,
        highest=high,
        mean=total / count,
        mean_square=power / count,
        active=active / count,
        whole_low=low.min(keepdims=True),
        whole_high=high.max(keepdims=True),
    )


@lru_cache(maxsize=1024)
def _rows_side_by_side(count: int, channels: int) -> int:
    """A divisor of ``count``: how many rows make one of about ``_ROW_LENGTH`` numbers."""
    wanted = max(_ROW_LENGTH // channels, 1)
    above = (number for number in range(wanted, 4 * wanted) if count % number == 0)
    below = (number for number in range(min(wanted, count), 0, -1) if count % number == 0)
    return next(above, None) or next(below)


def _rows(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """(N, C), contiguous."""
    if values.ndim == 0:
        return values.reshape(1, 1)
    moved = np.ascontiguousarray(np.moveaxis(values, axis, -1))
    return moved.reshape(-1, moved.shape[-1])


def to_tensor_ranges(statistics: Mapping[str, ChannelStatistics]) -> tuple[TensorRanges, ...]:
    """The figures of every tensor as plain numbers, bit by bit the same.

    Raises:
        ValueError: A figure is not finite.
    """
    return tuple(
        TensorRanges(
            name=name,
            low=_plain(of.low),
            high=_plain(of.high),
            lowest=_plain(of.lowest),
            highest=_plain(of.highest),
            mean=_plain(of.mean),
            mean_square=_plain(of.mean_square),
            active=_plain(of.active),
            whole_low=float(of.whole_low[0]),
            whole_high=float(of.whole_high[0]),
        )
        for name, of in statistics.items()
    )


def to_statistics(record: ActivationRanges) -> dict[str, ChannelStatistics]:
    """The same figures as arrays, bit by bit the same."""
    return {
        tensor.name: ChannelStatistics(
            low=np.array(tensor.low),
            high=np.array(tensor.high),
            lowest=np.array(tensor.lowest),
            highest=np.array(tensor.highest),
            mean=np.array(tensor.mean),
            mean_square=np.array(tensor.mean_square),
            active=np.array(tensor.active),
            whole_low=np.array([tensor.whole_low]),
            whole_high=np.array([tensor.whole_high]),
            crops=record.crops,
        )
        for tensor in record.tensors
    }


def _plain(vector: Vector) -> tuple[float, ...]:
    return tuple(vector.tolist())


class KeptTensors(RunsAndKeeps, Protocol):
    """A model file that keeps its intermediate tensors.

    Attributes:
        holds_integers: Whether any tensor, stored or computed, stands for real values by integers.
    """

    holds_integers: bool

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Real values of one tensor of the last run."""
        ...

    def op_of(self, name: str) -> str:
        """Name of the op that writes a tensor."""
        ...


def open_tensors(path: Path) -> KeptTensors:
    """Opens a model; it takes the memory of all its tensors at once.

    Args:
        path: The file, which loads (it was opened by a backend before).

    Raises:
        ConfigError: The format cannot be run.
    """
    model_format = detect_format(path)
    if model_format == "tflite":
        from edgepose.runtime.backends.litert_tensors import TfliteTensors

        return TfliteTensors(path)
    if model_format == "onnx":
        from edgepose.runtime.backends.onnxruntime_tensors import OnnxTensors

        return OnnxTensors(path)
    raise ConfigError(
        f"{path} is a {model_format} model; the runtimes here load TFLite and ONNX.",
        "Run: edgepose convert MODEL --to tflite -o OUT",
    )


def open_float_tensors(path: Path) -> KeptTensors:
    """Opens a float model, as :func:`open_tensors` does.

    Raises:
        ConfigError: The format cannot be run.
        ModelError: The model is quantized, so the ranges of its tensors are cut off already.
    """
    tensors = open_tensors(path)
    if tensors.holds_integers:
        raise ModelError(
            f"{path.name} is quantized; ranges are set by the float model that it was made from.",
            "Give the float file with --model, or install a float bundle.",
        )
    return tensors
