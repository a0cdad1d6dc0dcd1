"""The device's preprocessing on these very images against an oracle of what the model's input must hold.

The oracle shares no line with ``pose.transform`` or ``runtime.preprocess``: plain bilinear sampling in
float64, written down from the description of the spec.

* ``crop``: the box grown to the input's aspect, times ``box_scale`` about its centre; input pixel u shows
  image position ``x0 + u * w / W``; outside lies ``pad_value``.
* ``letterbox``: one scale for both axes, pixel centres map to pixel centres; outside lies ``pad_value``.
* ``stretch``: each axis its own scale, pixel centres map to pixel centres; the edge goes on outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.records.data_audit import PreprocessParity
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import Backend, TensorInfo
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.preprocess import Preprocessor

Positions = NDArray[np.float64]


def expected_levels(
    image: NDArray[np.uint8], spec: InputSpec, box_xyxy_px: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """The resized picture before normalization.

    Args:
        image: uint8 (H, W, 3), RGB.
        spec: How the model wants its picture.
        box_xyxy_px: (4,), or None for the whole picture.

    Returns:
        float64 (height, width, 3) in grey levels, channels in the spec's colour order.
    """
    xs, ys = _sampled_positions(image, spec, box_xyxy_px)
    padded = None if spec.resize == "stretch" else float(spec.pad_value)
    sampled = _bilinear(image.astype(np.float64), xs, ys, padded)
    return sampled[..., ::-1] if spec.color_order == "BGR" else sampled


def _sampled_positions(
    image: NDArray[np.uint8], spec: InputSpec, box: NDArray[np.floating] | None
) -> tuple[Positions, Positions]:
    """Image x of every input column and image y of every input row."""
    us, vs = np.arange(spec.width_px, dtype=np.float64), np.arange(spec.height_px, dtype=np.float64)
    height, width = image.shape[:2]
    if spec.resize == "crop":
        x0, y0, w, h = _crop(box, (width, height), spec)
        return x0 + us * w / spec.width_px, y0 + vs * h / spec.height_px
    if spec.resize == "stretch":
        return (us + 0.5) * width / spec.width_px - 0.5, (vs + 0.5) * height / spec.height_px - 0.5
    scale = min(spec.width_px / width, spec.height_px / height)
    left = (spec.width_px - width * scale) / 2 if spec.anchor == "center" else 0.0
    top = (spec.height_px - height * scale) / 2 if spec.anchor == "center" else 0.0
    return (us + 0.5 - left) / scale - 0.5, (vs + 0.5 - top) / scale - 0.5


def _crop(
    box: NDArray[np.floating] | None, image_wh: tuple[int, int], spec: InputSpec
) -> tuple[float, float, float, float]:
    """Left, top, width and height of the crop in image pixels."""
    if box is None:
        x0, y0, x1, y1, grow = 0.0, 0.0, float(image_wh[0]), float(image_wh[1]), 1.0
    else:
        (x0, y0, x1, y1), grow = (float(v) for v in box), spec.box_scale
    w, h = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    aspect = spec.width_px / spec.height_px
    w, h = max(w, h * aspect) * grow, max(h, w / aspect) * grow
    return (x0 + x1) / 2 - w / 2, (y0 + y1) / 2 - h / 2, w, h


def _bilinear(
    image: NDArray[np.float64], xs: Positions, ys: Positions, outside: float | None
) -> NDArray[np.float64]:
    """Separable bilinear sampling; ``outside`` None repeats the edge."""
    rows = _interpolated(image, ys, outside)
    return _interpolated(rows.transpose(1, 0, 2), xs, outside).transpose(1, 0, 2)


def _interpolated(
    image: NDArray[np.float64], places: Positions, outside: float | None
) -> NDArray[np.float64]:
    """Linear interpolation along the first axis."""
    low = np.floor(places).astype(np.int64)
    share = (places - low)[:, None, None]

    def lines(index: NDArray[np.int64]) -> NDArray[np.float64]:
        taken = image[np.clip(index, 0, len(image) - 1)]
        if outside is None:
            return taken
        beyond = (index < 0) | (index >= len(image))
        return np.where(beyond[:, None, None], outside, taken)

    return np.asarray(lines(low) * (1 - share) + lines(low + 1) * share)


SAMPLES = 8
# Rounding to bytes costs a quarter of a level on average, OpenCV's steps of 1/32 pixel as much again on
# detailed pictures; half a pixel beside costs several levels.
_MAX_MEAN_ERROR_LEVELS = 1.0
# Mean and deviation, in grey levels, between which natural pictures and crops of them lie.
_NATURAL_MEAN = (20.0, 235.0)
_NATURAL_STD = (10.0, 125.0)
# A model's input that was normalized at all is of this order; mean and std of the spec given for 0..1 where
# pixels are 0..255 make it hundreds.
_LARGEST_NORMALIZED = 16.0


def check_parity(
    backend: Backend, spec: InputSpec, samples: Sequence[CropSample], model_sha256: str
) -> PreprocessParity:
    """Preprocesses a few crops both ways.

    Raises:
        ConfigError: A picture vanished.
        ModelError: Spec and model disagree.
    """
    info = backend.input
    preprocessor = Preprocessor(spec, info)
    errors: list[NDArray[np.float64]] = []
    inputs: list[NDArray[np.float64]] = []
    for sample in samples[:SAMPLES]:
        image = read_image_rgb(sample.image_path)
        tensor = np.zeros(info.shape, info.dtype)
        preprocessor.write(image, preprocessor.transform_for(image, sample.box_xyxy_px), tensor)
        real = info.dequantize(tensor)[0].astype(np.float64)
        if spec.layout == "NCHW":
            real = real.transpose(1, 2, 0)
        levels = real * np.asarray(spec.std) + np.asarray(spec.mean)
        errors.append(np.abs(levels - expected_levels(image, spec, sample.box_xyxy_px)).ravel())
        inputs.append(real.reshape(-1, 3))
    return _verdict(np.concatenate(errors), np.concatenate(inputs), spec, info, (len(inputs), model_sha256))


def _verdict(
    errors: NDArray[np.float64],
    inputs: NDArray[np.float64],
    spec: InputSpec,
    info: TensorInfo,
    about: tuple[int, str],
) -> PreprocessParity:
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    # Rounding to an integer input's steps is no error of the preprocessing: half a step at most.
    rounding = info.scale / 2 * max(spec.std) if info.scale else 0.0
    return PreprocessParity(
        model_sha256=about[1],
        samples=about[0],
        mean_error_levels=round(float(errors.mean()), 4),
        max_error_levels=round(float(errors.max()), 3),
        input_mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        input_std=(float(std[0]), float(std[1]), float(std[2])),
        agrees=bool(errors.mean() <= _MAX_MEAN_ERROR_LEVELS + rounding),
        normalisation_as_expected=_as_expected(mean, std, spec),
    )


def _as_expected(mean: NDArray[np.float64], std: NDArray[np.float64], spec: InputSpec) -> bool:
    scale, shift = np.asarray(spec.std), np.asarray(spec.mean)
    levels, deviation = mean * scale + shift, std * scale
    natural = (
        _NATURAL_MEAN[0] <= levels.min()
        and levels.max() <= _NATURAL_MEAN[1]
        and _NATURAL_STD[0] <= deviation.min()
        and deviation.max() <= _NATURAL_STD[1]
    )
    raw = not shift.any() and bool((scale == 1).all())
    return bool(natural and (raw or float(np.abs(mean).max() + std.max()) < _LARGEST_NORMALIZED))
