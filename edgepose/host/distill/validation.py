"""The student on labelled pictures, by the same pipeline and scoring as ``edgepose evaluate``."""

from __future__ import annotations

import math
from typing import Any

from edgepose.host.data.coco import CocoDataset
from edgepose.host.distill.keras_backend import KerasBackend
from edgepose.host.evaluate.figures import PCK_NAME, evaluation_weights, overall_figures
from edgepose.host.evaluate.predictions import predict
from edgepose.host.evaluate.scoring import score
from edgepose.inference.pipeline import PosePipeline
from edgepose.spec.model_spec import ModelSpec

_NAMES = ("oks_ap", "oks_ap50", "oks_ap75", PCK_NAME)


def validate(student: Any, spec: ModelSpec, dataset: CocoDataset) -> dict[str, float | None]:
    """AP and PCK with the labels' boxes; None where a figure cannot be measured.

    Raises:
        ConfigError: A picture is not readable or not the one that was labelled.
        ModelError: The student gives values that are not finite.
    """
    return pipeline_figures(PosePipeline(KerasBackend(student), spec), dataset)


def pipeline_figures(pipeline: PosePipeline, dataset: CocoDataset) -> dict[str, float | None]:
    """AP and PCK of any model; see ``validate``."""
    scores = score(predict(pipeline, dataset), dataset, {})
    figures = overall_figures(scores, evaluation_weights(len(dataset.images), 0, 0))
    values = {name: float(figures[name].values[0]) for name in _NAMES}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
