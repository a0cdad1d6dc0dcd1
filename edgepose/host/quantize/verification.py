"""What is checked about a quantized file before it gets its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.data.calibration_set import CropSample
from edgepose.host.evaluate.agreement import AgreementReport, Sample, mean_agreement_oks
from edgepose.inference.backend import Backend, run_once
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.pipeline import PosePipeline
from edgepose.inference.preprocess import Preprocessor
from edgepose.spec.model_spec import ModelSpec


def refuse_non_finite(backend: Backend, inputs: Iterable[NDArray[Any]], what: str) -> None:
    """Runs a model and looks at every output value.

    Args:
        backend: The loaded model.
        inputs: Stored input values.
        what: Names the model in the message.

    Raises:
        ModelError: An output is NaN or infinite, or the runtime fails.
    """
    for values in inputs:
        for info, output in zip(backend.outputs, run_once(backend, values), strict=True):
            bad = int(output.size - np.isfinite(output).sum())
            if bad:
                raise ModelError(
                    f"{what} gives {bad} of {output.size} values as NaN or infinity in output '{info.name}'.",
                    "Check the model that was given, and the spec's mean and std.",
                )


def neutral_input(spec: ModelSpec, backend: Backend) -> NDArray[Any]:
    """The input of a mid-grey picture, for models without any data."""
    preprocessor = Preprocessor(spec.input, backend.input)
    picture = np.full((spec.input.height_px, spec.input.width_px, 3), 128, np.uint8)
    values = np.zeros(backend.input.shape, backend.input.dtype)
    preprocessor.write(picture, preprocessor.transform_for(picture, None), values)
    return values


def agreement_with_parent(
    parent: Backend, quantized: Backend, spec: ModelSpec, held_out: Iterable[CropSample]
) -> AgreementReport | None:
    """Compares keypoints on held-out crops; a detector has no keypoints to compare.

    Raises:
        ModelError: A model failed or gives values that are not finite.
    """
    if spec.paradigm == "detector":
        return None
    return mean_agreement_oks(PosePipeline(parent, spec), PosePipeline(quantized, spec), _samples(held_out))


def _samples(crops: Iterable[CropSample]) -> Iterator[Sample]:
    for crop in crops:
        yield read_image_rgb(crop.image_path), crop.box_xyxy_px


def same_interface(parent: Backend, quantized: Backend, path: Path) -> None:
    """Checks that inputs and outputs kept their names and shapes.

    Raises:
        ModelError: They did not.
    """
    before = [(info.name, info.shape) for info in parent.outputs]
    after = [(info.name, info.shape) for info in quantized.outputs]
    if parent.input.shape != quantized.input.shape or before != after:
        raise ModelError(
            f"{path.name} has outputs {after} for input {quantized.input.shape}; its float parent has "
            f"{before} for {parent.input.shape}."
        )
