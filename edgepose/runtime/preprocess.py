"""From an image to the model's input tensor: one resizer, one table look-up.

The resizer is ``cv2.warpAffine``, on the host and on the device (docs/adr/0003). Normalization and the
input's quantization are one table of 256 values per channel, so an int8 model costs no more than a copy
and float models see exactly ``(value - mean) / std`` in float32.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.errors import ModelError
from edgepose.pose.transform import (
    ImageTransform,
    RotatedCrop,
    crop_transform,
    letterbox_transform,
    stretch_transform,
)
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import Tensor, TensorInfo

Image = NDArray[np.uint8]

# Even a badly calibrated integer input keeps more grey levels than this; normalized values that are
# rounded because the input has no scale keep about five.
_FEWEST_LEVELS = 16


class Preprocessor:
    """Fills one model's input tensor.

    Args:
        spec: How the model wants its image.
        tensor: The input tensor that the file really has.
        replicates_border: What lies outside the image repeats its edge; else it has the spec's
            ``pad_value``, and a stretched image has no outside.

    Raises:
        ModelError: Spec and file disagree on size, layout or range.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo, *, replicates_border: bool = False) -> None:
        expected = expected_shape(spec)
        if tensor.shape != expected:
            raise ModelError(
                f"The spec says input {spec.layout} {expected}, the model has {tensor.shape}.",
                "Correct width_px, height_px or layout in the spec.",
            )
        self._spec = spec
        self._table = _lookup_table(spec, tensor)
        width, height = spec.size_wh
        self._picture: Image = np.empty((height, width, 3), np.uint8)
        self._planes: list[Image] = [np.empty((height, width), np.uint8) for _ in range(3)]
        self._border = (spec.pad_value,) * 3
        # A stretched image has no outside; a constant would darken its edge where it is enlarged.
        replicates_border = replicates_border or spec.resize == "stretch"
        self._border_mode = cv2.BORDER_REPLICATE if replicates_border else cv2.BORDER_CONSTANT

    def transform_for(self, image: Image, box_xyxy_px: ArrayLike | None) -> ImageTransform:
        """Says where image pixels land in the input.

        Args:
            image: (H, W, 3), only its size is read.
            box_xyxy_px: Person box (4,) for models that work on crops; None takes the whole image.
        """
        image_wh = (image.shape[1], image.shape[0])
        if self._spec.resize == "letterbox":
            centred = self._spec.anchor == "center"
            return letterbox_transform(image_wh, self._spec.size_wh, centred=centred)
        if self._spec.resize == "stretch":
            return stretch_transform(image_wh, self._spec.size_wh)
        if box_xyxy_px is None:
            return crop_transform((0, 0, *image_wh), self._spec.size_wh, box_scale=1.0)
        return crop_transform(box_xyxy_px, self._spec.size_wh, self._spec.box_scale)

    def write(self, image: Image, transform: ImageTransform | RotatedCrop, tensor: Tensor) -> None:
        """Resizes, reorders, normalizes and quantizes straight into the input tensor.

        Args:
            image: uint8 (H, W, 3), RGB.
            transform: From ``transform_for``, or a crop of any angle.
            tensor: The input tensor's memory, shape (1, 3, H, W) or (1, H, W, 3).

        Raises:
            ValueError: The image is not uint8 with three channels.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            # OpenCV would silently write elsewhere and the previous image would be used again.
            raise ValueError(f"expected a uint8 (H, W, 3) picture, found {image.dtype} {image.shape}")
        cv2.warpAffine(
            image,
            transform.sampling_matrix,
            self._spec.size_wh,
            dst=self._picture,
            flags=cv2.INTER_LINEAR,
            borderMode=self._border_mode,
            borderValue=self._border,
        )
        if self._spec.layout == "NHWC":
            self._write_interleaved(tensor[0])
        else:
            self._write_planes(tensor[0])

    def _write_interleaved(self, tensor: Tensor) -> None:
        image = self._picture
        if self._spec.color_order == "BGR":
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        _look_up(image, self._table.reshape(1, 256, 3), tensor)

    def _write_planes(self, tensor: Tensor) -> None:
        cv2.split(self._picture, self._planes)
        order = (0, 1, 2) if self._spec.color_order == "RGB" else (2, 1, 0)
        for channel, source in enumerate(order):
            _look_up(self._planes[source], self._table[:, channel], tensor[channel])


def expected_shape(spec: InputSpec) -> tuple[int, ...]:
    """The input shape that a spec describes, batch 1."""
    size = (spec.height_px, spec.width_px)
    return (1, 3, *size) if spec.layout == "NCHW" else (1, *size, 3)


def _lookup_table(spec: InputSpec, tensor: TensorInfo) -> NDArray[Any]:
    """(256, 3): what each byte becomes in each channel, in the spec's colour order."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    real = (levels - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    table = np.ascontiguousarray(tensor.quantize(real))
    distinct = min(len(np.unique(table[:, channel])) for channel in range(3))
    if distinct < _FEWEST_LEVELS:
        raise ModelError(
            f"The spec's mean and std leave {distinct} of 256 grey levels in the {tensor.dtype} input.",
            "An integer input without a scale takes raw pixels: leave mean and std out of the spec.",
        )
    return table


def _look_up(source: Image, table: NDArray[Any], target: Tensor) -> None:
    """``target[...] = table[source]`` in one pass, without a temporary where OpenCV allows."""
    table = np.ascontiguousarray(table)
    if table.dtype == np.float16:
        # cv2.LUT knows no float16; numpy's take does, and float16 inputs are rare.
        channels = range(source.shape[2]) if source.ndim == 3 else [None]
        for channel in channels:
            if channel is None:
                target[...] = table[source]
            else:
                target[..., channel] = table[0, :, channel][source[..., channel]]
        return
    result = cv2.LUT(source, table, dst=target)
    if result is not target and not np.shares_memory(result, target):
        np.copyto(target, result)
