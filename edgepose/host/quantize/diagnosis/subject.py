"""What is diagnosed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.quantize.diagnosis.layers import Statistics
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.spec.model_spec import ModelSpec


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
