"""The same figures of the float student, the rounded one in training's framework, and the int8 files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.data.coco import CocoDataset
from edgepose.host.distill.validation import pipeline_figures
from edgepose.host.evaluate.agreement import Sample, mean_agreement_oks
from edgepose.host.evaluate.figures import PCK_NAME
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.inference.backend import Backend, run_once
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.pipeline import PosePipeline
from edgepose.spec.distillation_report import RoundedFigures
from edgepose.spec.model_spec import ModelSpec

MEASURED_CROPS = 64


@dataclass(frozen=True)
class Distance:
    """How far two models' outputs are apart, in steps of the int8 one.

    Attributes:
        mean: Over all values.
        greatest: Over all values.
    """

    mean: float
    greatest: float


def measured(
    pipelines: Mapping[str, PosePipeline], validation: CocoDataset | None, crops: Sequence[CropSample]
) -> dict[str, RoundedFigures]:
    """AP where there are labels to measure on, and the agreement with the first pipeline.

    Raises:
        ConfigError: A picture is not readable.
        ModelError: A model failed.
    """
    first = next(iter(pipelines.values()))
    return {name: _figures(first, pipeline, validation, crops) for name, pipeline in pipelines.items()}


def _figures(
    first: PosePipeline, pipeline: PosePipeline, validation: CocoDataset | None, crops: Sequence[CropSample]
) -> RoundedFigures:
    known = {} if validation is None else pipeline_figures(pipeline, validation)
    return RoundedFigures(
        oks_ap=known.get("oks_ap"),
        pck=known.get(PCK_NAME),
        agreement_oks=mean_agreement_oks(first, pipeline, _read(crops)).mean_oks,
    )


def distance(rounded: Backend, converted: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> Distance:
    """Runs both on the same crops.

    Raises:
        ConfigError: A picture is not readable.
        ModelError: A model failed.
    """
    step = converted.outputs[0].scale
    apart = [
        np.abs(run_once(rounded, mine)[0] - run_once(converted, theirs)[0]) / step
        for mine, theirs in zip(
            RepresentativeInputs(spec.input, rounded.input, crops),
            RepresentativeInputs(spec.input, converted.input, crops),
            strict=True,
        )
    ]
    return Distance(float(np.mean(apart)), float(np.max(apart)))


def crops_of_dataset(dataset: CocoDataset) -> list[CropSample]:
    """Persons of labelled pictures, evenly spread."""
    return evenly(
        [
            CropSample(image.path, "", np.asarray(person.box_xyxy_px, np.float32))
            for image in dataset.images
            for person in image.persons
            if person.is_scored
        ]
    )


def evenly(crops: Sequence[CropSample], count: int = MEASURED_CROPS) -> list[CropSample]:
    """At most so many, evenly spread over the sequence."""
    chosen: NDArray[np.intp] = np.unique(
        np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(np.intp)
    )
    return [crops[index] for index in chosen]


def _read(crops: Sequence[CropSample]) -> Iterator[Sample]:
    for crop in crops:
        yield read_image_rgb(crop.image_path), crop.box_xyxy_px
