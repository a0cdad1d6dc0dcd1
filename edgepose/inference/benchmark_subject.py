"""What a benchmark runs: a pose model, or a person detector by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.inference.backend import BackendInfo
from edgepose.inference.detector import PersonDetector
from edgepose.inference.model_file import load_spec
from edgepose.inference.open_model import RuntimeOptions, open_backend
from edgepose.inference.pipeline import PosePipeline
from edgepose.inference.preprocess import Image
from edgepose.inference.stage_timer import StageTimer
from edgepose.spec.model_spec import ModelSpec

# One person in a picture of 640x480; models that see the whole picture ignore it.
_BOX_XYXY_PX = np.array([[200.0, 40.0, 440.0, 440.0]])


@dataclass(frozen=True)
class BenchmarkSubject:
    """An opened model.

    Attributes:
        spec: Its spec.
        run: Takes a picture all the way through.
        timer: Time of each stage of the last picture.
        info: What really runs it, asked after it ran.
    """

    spec: ModelSpec
    run: Callable[[Image], object]
    timer: StageTimer
    info: Callable[[], BackendInfo]


def open_subject(
    model: Path, spec: ModelSpec | None, spec_file: Path | None, options: RuntimeOptions
) -> BenchmarkSubject:
    """Opens a pose model or a person detector.

    Args:
        model: The file.
        spec: Its spec where somebody knows it already.
        spec_file: Else the spec of a file that carries none.
        options: How to run it.

    Raises:
        EdgeposeError: As ``load_spec``, ``open_backend`` and the stages raise.
    """
    spec = spec or load_spec(model, spec_file)
    if spec.paradigm == "detector":
        detector = PersonDetector(open_backend(model, options), spec)
        return BenchmarkSubject(spec, detector.detect, detector.timer, lambda: detector.backend_info)
    pipeline = PosePipeline(open_backend(model, options), spec)
    return BenchmarkSubject(
        spec,
        lambda picture: pipeline.estimate(picture, _BOX_XYXY_PX),
        pipeline.timer,
        lambda: pipeline.backend_info,
    )
