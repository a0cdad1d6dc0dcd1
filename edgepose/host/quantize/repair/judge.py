"""Scores candidates on crops that set no range: how much an int8 file sees of what its float model sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.evaluate.agreement import best_oks
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.inference.backend import Backend, run_once
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.open_model import open_backend
from edgepose.inference.pipeline import PosePipeline, confident
from edgepose.inference.preprocess import Image
from edgepose.pose.poses import Poses
from edgepose.spec.model_spec import ModelSpec

# Decoded pictures are kept up to this much; the rest is read again for every candidate.
_KEPT_BYTES = 256 * 2**20


class Judge:
    """The float model's answers on some crops, to hold candidates against.

    A pose model's score is the mean OKS with the float model's keypoints. A detector has none: its score is
    one minus the relative error of its outputs.

    Args:
        parent: The float model.
        spec: What it is.
        crops: Crops that calibrate nothing.
    """

    def __init__(self, parent: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> None:
        self._spec, self._crops, self._parent = spec, tuple(crops), parent
        self._images: dict[Path, Image] = {}
        self._expected: list[Poses] = []
        if spec.paradigm != "detector":
            pipeline = PosePipeline(parent, spec)
            self._expected = [self._seen_by(pipeline, crop) for crop in self._crops]

    @property
    def crops(self) -> int:
        """How many crops it judges on."""
        return len(self._crops)

    def score(self, model: bytes) -> float:
        """Scores an int8 file; 0 where the float model is sure of nobody.

        Raises:
            ModelError: The file does not load, or gives values that are not finite.
        """
        with TemporaryDirectory() as folder:
            path = Path(folder) / "candidate"
            path.write_bytes(model)
            backend = open_backend(path)
            if self._spec.paradigm == "detector":
                return self._of_outputs(backend)
            return self._of_poses(PosePipeline(backend, self._spec))

    def _of_poses(self, pipeline: PosePipeline) -> float:
        found: list[float] = []
        for crop, expected in zip(self._crops, self._expected, strict=True):
            if len(expected):
                shipped = pipeline.estimate(self._image(crop), _boxes(crop))
                found += best_oks(expected, shipped, crop.box_xyxy_px, self._spec.min_pose_score)
        return float(np.mean(found)) if found else 0.0

    def _of_outputs(self, backend: Backend) -> float:
        signal = noise = 0.0
        inputs = RepresentativeInputs(self._spec.input, self._parent.input, self._crops)
        for values in inputs:
            exact = [output.astype(np.float64).copy() for output in run_once(self._parent, values)]
            tensor = backend.input
            given = tensor.quantize(values) if tensor.scale else values.astype(tensor.dtype)
            for expected, actual in zip(exact, run_once(backend, given), strict=True):
                signal += float(np.square(expected).sum())
                noise += float(np.square(expected - actual).sum())
        return 1.0 - min(1.0, float(np.sqrt(noise / signal))) if signal else 0.0

    def _seen_by(self, pipeline: PosePipeline, crop: CropSample) -> Poses:
        return confident(pipeline.estimate(self._image(crop), _boxes(crop)), self._spec.min_pose_score)

    def _image(self, crop: CropSample) -> Image:
        known = self._images.get(crop.image_path)
        if known is not None:
            return known
        image = read_image_rgb(crop.image_path)
        if sum(kept.nbytes for kept in self._images.values()) + image.nbytes <= _KEPT_BYTES:
            self._images[crop.image_path] = image
        return image


def _boxes(crop: CropSample) -> NDArray[np.float64] | None:
    return None if crop.box_xyxy_px is None else np.asarray(crop.box_xyxy_px, np.float64)[None]
