"""The person detector stage: picture in, person boxes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.inference.backend import Backend, real_outputs
from edgepose.inference.codec_choice import detector_codec
from edgepose.inference.preprocess import Image, Preprocessor
from edgepose.spec.model_spec import ModelSpec


class PersonDetector:
    """Finds persons in a whole picture.

    Args:
        backend: The loaded detector.
        spec: Its spec, of paradigm ``detector``.
        score_threshold: Replaces the spec's threshold.

    Raises:
        ConfigError: The spec is not a detector's.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec, score_threshold: float | None = None) -> None:
        self._backend = backend
        self._codec = detector_codec(spec, score_threshold)
        self._preprocessor = Preprocessor(spec.input, backend.input)

    def detect(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Finds persons.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Boxes (N, 4) xyxy in image pixels, cut to the image, and scores (N,), best first.

        Raises:
            ModelError: The model failed or gives another output than its spec says.
        """
        transform = self._preprocessor.transform_for(image, None)
        self._backend.load_input(lambda tensor: self._preprocessor.write(image, transform, tensor))
        self._backend.invoke()
        boxes_input_px, scores = self._codec.decode_boxes(real_outputs(self._backend))
        limits = np.tile([image.shape[1], image.shape[0]], 2)
        boxes = np.clip(transform.boxes_to_image(boxes_input_px), 0, limits)
        kept = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > 1
        return boxes[kept].astype(np.float32), scores[kept]
