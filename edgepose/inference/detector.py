"""The person detector stage: picture in, person boxes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.inference.backend import Backend, BackendInfo, real_outputs
from edgepose.inference.codec_choice import detector_codec
from edgepose.inference.preprocess import Image, Preprocessor
from edgepose.inference.stage_timer import StageTimer
from edgepose.pose.transform import ImageTransform
from edgepose.spec.model_spec import ModelSpec


class PersonDetector:
    """Finds persons in a whole picture.

    Args:
        backend: The loaded detector.
        spec: Its spec, of paradigm ``detector``.
        score_threshold: Replaces the spec's threshold.

    Attributes:
        spec: Its spec.
        timer: Time of its own stages since ``timer.reset()``.

    Raises:
        ConfigError: The spec is not a detector's.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec, score_threshold: float | None = None) -> None:
        self.spec = spec
        self.timer = StageTimer()
        self._backend = backend
        self._codec = detector_codec(spec, score_threshold)
        self._preprocessor = Preprocessor(spec.input, backend.input)

    @property
    def backend_info(self) -> BackendInfo:
        """What really runs the model."""
        return self._backend.info

    def detect(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Finds persons.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Boxes (N, 4) xyxy in image pixels, cut to the image, and scores (N,), best first.

        Raises:
            ModelError: The model failed or gives another output than its spec says.
        """
        with self.timer.measure("preprocess"):
            transform = self._preprocessor.transform_for(image, None)
            self._backend.load_input(lambda tensor: self._preprocessor.write(image, transform, tensor))
        with self.timer.measure("infer"):
            self._backend.invoke()
        with self.timer.measure("decode"):
            return self._to_image(real_outputs(self._backend), transform, image)

    def _to_image(
        self, outputs: dict[str, NDArray[np.float32]], transform: ImageTransform, image: Image
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        boxes_input_px, scores = self._codec.decode_boxes(outputs)
        limits = np.tile([image.shape[1], image.shape[0]], 2)
        boxes = np.clip(transform.boxes_to_image(boxes_input_px), 0, limits)
        kept = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > 1
        return boxes[kept].astype(np.float32), scores[kept]
