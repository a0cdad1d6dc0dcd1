"""From a picture to the model's input tensor: one resizer, one table look-up.

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
from edgepose.inference.backend import Tensor, TensorInfo
from edgepose.pose.transform import (
    ImageTransform,
    crop_transform,
    letterbox_transform,
    stretch_transform,
)
from edgepose.spec.model_spec import InputSpec

Image = NDArray[np.uint8]

# Even a badly calibrated integer input keeps more grey levels than this; normalized values that are
# rounded because the input has no scale keep about five.
_FEWEST_LEVELS = 16


# Up to this many picture pixels an input pixel the fourth channel pays.
_LARGEST_PART = 8


class Preprocessor:
    """Fills one model's input tensor.

    Args:
        spec: How the model wants its picture.
        tensor: The input tensor that the file really has.

    Raises:
        ModelError: Spec and file disagree on size, layout or range.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo) -> None:
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
        self._picture_rgba: Image = np.empty((height, width, 4), np.uint8)
        self._part = np.empty(4 * _LARGEST_PART * height * width, np.uint8)
        self._planes: list[Image] = [np.empty((height, width), np.uint8) for _ in range(3)]
        self._border = (spec.pad_value,) * 4
        # A stretched picture has no outside; a constant would darken its edge where it is enlarged.
        self._border_mode = cv2.BORDER_REPLICATE if spec.resize == "stretch" else cv2.BORDER_CONSTANT

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

    def write(self, image: Image, transform: ImageTransform, tensor: Tensor) -> None:
        """Resizes, reorders, normalizes and quantizes straight into the input tensor.

        Args:
            image: uint8 (H, W, 3), RGB.
            transform: From ``transform_for``.
            tensor: The input tensor's memory, shape (1, 3, H, W) or (1, H, W, 3).

        Raises:
            ValueError: The picture is not uint8 with three channels.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            # OpenCV would silently write elsewhere and the previous picture would be used again.
            raise ValueError(f"expected a uint8 (H, W, 3) picture, found {image.dtype} {image.shape}")
        self._resize(image, transform)
        if self._spec.layout == "NHWC":
            self._write_interleaved(tensor[0])
        else:
            self._write_planes(tensor[0])

    def _resize(self, image: Image, transform: ImageTransform) -> None:
        """Samples the picture into ``self._picture``.

        OpenCV's sampler takes four channels in less than half the time of three, with the same result, so
        the sampled part of the picture gets a fourth channel first, unless it is so large that this costs
        more than it saves.
        """
        matrix = transform.sampling_matrix
        x0, y0, x1, y1 = _sampled_part(image, transform)
        part_px, input_px = max(x1 - x0, 0) * max(y1 - y0, 0), self._picture[..., 0].size
        whole = self._border_mode != cv2.BORDER_CONSTANT
        if whole or part_px == 0 or part_px > _LARGEST_PART * input_px:
            self._sample(image, matrix, self._picture)
            return
        matrix[:, 2] += matrix[:, :2] @ (x0, y0)
        part = self._part[: 4 * part_px].reshape(y1 - y0, x1 - x0, 4)
        cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2RGBA, dst=part)
        self._sample(part, matrix, self._picture_rgba)
        cv2.cvtColor(self._picture_rgba, cv2.COLOR_RGBA2RGB, dst=self._picture)

    def _sample(self, source: NDArray[Any], matrix: NDArray[np.float64], target: Image) -> None:
        cv2.warpAffine(
            source,
            matrix,
            self._spec.size_wh,
            dst=target,
            flags=cv2.INTER_LINEAR,
            borderMode=self._border_mode,
            borderValue=self._border,
        )

    def _write_interleaved(self, tensor: Tensor) -> None:
        picture = self._picture
        if self._spec.color_order == "BGR":
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        _look_up(picture, self._table.reshape(1, 256, 3), tensor)

    def _write_planes(self, tensor: Tensor) -> None:
        cv2.split(self._picture, self._planes)
        order = (0, 1, 2) if self._spec.color_order == "RGB" else (2, 1, 0)
        for channel, source in enumerate(order):
            _look_up(self._planes[source], self._table[:, channel], tensor[channel])


def _sampled_part(image: Image, transform: ImageTransform) -> tuple[int, int, int, int]:
    """The part of the picture that the input sees, xyxy in whole pixels, two pixels wider on every side.

    Bilinear sampling reads one neighbour; the second pixel covers rounding.
    """
    (sx, sy), (ox, oy), (width, height) = transform.scale_xy, transform.offset_xy, transform.input_wh
    rows, columns = image.shape[:2]
    x0, y0 = int(-ox / sx) - 3, int(-oy / sy) - 3
    x1, y1 = int((width - ox) / sx) + 4, int((height - oy) / sy) + 4
    return max(x0, 0), max(y0, 0), min(x1, columns), min(y1, rows)


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
