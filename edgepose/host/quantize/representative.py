"""Calibration crops as input tensors, made by the very preprocessor that the device runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.inference.backend import TensorInfo
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.preprocess import Preprocessor
from edgepose.spec.model_spec import InputSpec


class RepresentativeInputs:
    """Input tensors of crops, made one at a time and as often as asked.

    Args:
        spec: How the model wants its picture.
        tensor: The model's input tensor.
        samples: The crops.

    Raises:
        ModelError: Spec and tensor disagree.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo, samples: Sequence[CropSample]) -> None:
        self._preprocessor = Preprocessor(spec, tensor)
        self._tensor = tensor
        self._samples = tuple(samples)

    @property
    def tensor_name(self) -> str:
        """Name of the model's input tensor."""
        return self._tensor.name

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yields fresh arrays in the tensor's shape and type.

        Raises:
            ConfigError: A picture has vanished since the folder was opened.
        """
        for sample in self._samples:
            image = read_image_rgb(sample.image_path)
            values = np.zeros(self._tensor.shape, self._tensor.dtype)
            transform = self._preprocessor.transform_for(image, sample.box_xyxy_px)
            self._preprocessor.write(image, transform, values)
            yield values

    def first(self, count: int) -> list[NDArray[Any]]:
        """The first ``count`` tensors, or fewer."""
        return [values for values, _ in zip(self, range(count), strict=False)]
