"""What a changed model loses against its float parent on the task itself, without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.evaluate.agreement import best_oks
from edgepose.inference.backend import Backend, real_outputs
from edgepose.inference.detector import PersonDetector
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.pipeline import PosePipeline, confident
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.poses import Poses
from edgepose.spec.model_spec import ModelSpec

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Loss:
    """How far a changed model is from its parent.

    Attributes:
        task: 1 less the mean OKS of the keypoints, or the mean best IoU of a detector's boxes; None where
            the parent finds nothing to compare.
        sqnr_db: Signal to noise of the worst output; None where all outputs are equal.
    """

    task: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class _Seen:
    """What a model says about one crop."""

    found: Any
    outputs: Outputs


class TaskLoss:
    """Compares models with one parent, which runs once.

    Args:
        parent: The float model.
        spec: Its spec.
        crops: What both look at; the pictures stay in memory, so a few.

    Raises:
        ConfigError: A picture cannot be read.
        ModelError: The model failed, or it disagrees with the spec.
    """

    def __init__(self, parent: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> None:
        self._spec = spec
        self._pictures = [(read_image_rgb(crop.image_path), crop.box_xyxy_px) for crop in crops]
        self._expected = self._look(parent)

    def of(self, changed: Backend) -> Loss:
        """Runs a changed model on the same crops.

        Raises:
            ModelError: It failed, or gives values that are not finite.
        """
        alike: list[float] = []
        signal: dict[str, float] = {}
        noise: dict[str, float] = {}
        for expected, actual, (_, box) in zip(
            self._expected, self._look(changed), self._pictures, strict=True
        ):
            alike.extend(self._likeness(expected.found, actual.found, box))
            for name, values in expected.outputs.items():
                exact = values.astype(np.float64)
                signal[name] = signal.get(name, 0.0) + float(np.square(exact).sum())
                error = float(np.square(exact - actual.outputs[name]).sum())
                noise[name] = noise.get(name, 0.0) + error
        ratios = [max(signal[name], 1e-30) / noise[name] for name in signal if noise[name] > 0]
        return Loss(
            task=1.0 - float(np.mean(alike)) if alike else None,
            sqnr_db=10.0 * math.log10(min(ratios)) if ratios else None,
        )

    def _look(self, backend: Backend) -> list[_Seen]:
        seen = []
        if self._spec.paradigm == "detector":
            detector = PersonDetector(backend, self._spec)
            for image, _ in self._pictures:
                boxes, _ = detector.detect(image)
                seen.append(_Seen(boxes, real_outputs(backend)))
            return seen
        pipeline = PosePipeline(backend, self._spec)
        for image, box in self._pictures:
            poses = pipeline.estimate(image, None if box is None else np.asarray(box, np.float64)[None])
            seen.append(_Seen(poses, real_outputs(backend)))
        return seen

    def _likeness(self, expected: Any, actual: Any, box: NDArray[np.floating] | None) -> list[float]:
        if not isinstance(expected, Poses):
            return [float(best) for best in iou_matrix(expected, actual).max(axis=1, initial=0.0)]
        sure = confident(expected, self._spec.min_pose_score)
        return best_oks(sure, actual, box, self._spec.min_pose_score) if len(sure) else []
