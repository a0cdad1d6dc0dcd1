"""What is diagnosed: the layers that int8 rounds, and how wide their ranges and channels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.quantize.repair.network import Moved, Network, Step, Weighted, outputs_of
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.activation_statistics import ChannelStatistics

STEPS = 256
INPUT_OP = "input"
Statistics = Mapping[str, ChannelStatistics]


@dataclass(frozen=True, eq=False)
class Layer:
    """A tensor that int8 rounds anew, and the step that writes it: None, op ``input``, for the input."""

    tensor: str
    op: str
    step: Step | None = None

    @property
    def weighted(self) -> Weighted | None:
        """The step, where it has stored weights."""
        return self.step if isinstance(self.step, Weighted) else None


def layers_of(network: Network, ranges: TensorRanges) -> tuple[Layer, ...]:
    """All layers in the order in which they run; a tensor without a range is not rounded.

    What an op only moves keeps its scale and is no layer, except where several tensors are joined under one.
    """
    found = {name: Layer(name, INPUT_OP) for name in network.inputs if name in ranges}
    behind = _carried_on(network)
    for step in network.steps:
        if isinstance(step, Moved) and len(step.sources) == 1:
            continue
        for output in outputs_of(step):
            tensor: str | None = output
            # Between the steps of one op lie tensors that no file has.
            while tensor is not None and tensor not in ranges:
                tensor = behind.get(tensor)
            if tensor is not None:
                found.setdefault(tensor, Layer(tensor, step.name, step))
    return tuple(found.values())


def _carried_on(network: Network) -> dict[str, str]:
    return {
        step.sources[0]: step.output
        for step in network.steps
        if isinstance(step, Moved) and len(step.sources) == 1
    }


def span_of(low: float, high: float) -> float:
    """Width of a range with 0 in it, as every scale must have it."""
    return max(high, 0.0) - min(low, 0.0)


def channel_spans(known: ChannelStatistics) -> NDArray[np.float64]:
    """Width of each channel's range over all crops with 0 in it, float64 (C,)."""
    return np.asarray(np.maximum(known.highest, 0.0) - np.minimum(known.lowest, 0.0))


def live_channels(known: ChannelStatistics) -> NDArray[np.bool_]:
    """Channels that are not 0 everywhere, bool (C,)."""
    return np.asarray(channel_spans(known) > 0)


def writers(network: Network) -> dict[str, Step]:
    """Which step writes a tensor."""
    return {name: step for step in network.steps for name in outputs_of(step)}


@dataclass(frozen=True, eq=False)
class Subject:
    """A float model with what is known about it.

    Attributes:
        model: The float TFLite file, or the prepared ONNX file, in which ``statistics`` were measured.
        spec: Its spec.
        statistics: Of every float tensor, on calibration crops.
        ranges: Least and greatest value that each tensor's scale would represent.
        crops: Unlabelled crops that did not calibrate; the first few are used, and with none nothing is
            measured.
        symmetric: Whether activations have zero point 0.
    """

    model: bytes
    spec: ModelSpec
    statistics: Statistics
    ranges: TensorRanges
    crops: Sequence[CropSample]
    symmetric: bool = False
