"""The device's preprocessing on these very pictures against the oracle, and what reaches the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.preprocess_oracle import expected_levels
from edgepose.host.data.calibration_set import CropSample
from edgepose.inference.backend import Backend, TensorInfo
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.preprocess import Preprocessor
from edgepose.spec.data_audit import PreprocessParity
from edgepose.spec.model_spec import InputSpec

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

    Args:
        backend: The loaded model, for its input tensor.
        spec: How the model wants its picture.
        samples: At least one crop.
        model_sha256: Of the model, for the record.

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
        real = _channels_last(info.dequantize(tensor)[0].astype(np.float64), spec)
        levels = real * np.asarray(spec.std) + np.asarray(spec.mean)
        errors.append(np.abs(levels - expected_levels(image, spec, sample.box_xyxy_px)).ravel())
        inputs.append(real.reshape(-1, 3))
    return _verdict(np.concatenate(errors), np.concatenate(inputs), spec, info, (len(inputs), model_sha256))


def _channels_last(values: NDArray[np.float64], spec: InputSpec) -> NDArray[np.float64]:
    return values.transpose(1, 2, 0) if spec.layout == "NCHW" else values


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
