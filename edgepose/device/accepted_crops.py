"""The pose pipeline with a look at what it fed to its model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgepose.inference.backend import Backend, BackendInfo, Tensor, TensorInfo
from edgepose.inference.pipeline import PosePipeline, are_confident
from edgepose.inference.preprocess import Image
from edgepose.pose.poses import Poses
from edgepose.spec.model_spec import ModelSpec


class AcceptedCrops(PosePipeline):
    """Keeps the input tensors of the last picture in which the model sees a person.

    Args:
        backend: The loaded pose model.
        spec: Its spec.

    Attributes:
        accepted: Input tensors of the last picture's crops that reach ``min_pose_score``, in the order of the
            boxes; the whole picture counts when anybody in it does.
        not_accepted: Number of all others so far.

    Raises:
        ConfigError: The spec's codec gives no keypoints.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self._tap = _InputTap(backend)
        super().__init__(self._tap, spec)
        self.accepted: list[Tensor] = []
        self.not_accepted = 0

    def estimate(
        self,
        image: Image,
        boxes_xyxy_px: NDArray[np.floating] | None = None,
        box_scores: NDArray[np.floating] | None = None,
    ) -> Poses:
        """As the pipeline does.

        Raises:
            ModelError: The model failed or gives another output than its spec says.
        """
        self._tap.seen.clear()
        poses = super().estimate(image, boxes_xyxy_px, box_scores)
        persons = are_confident(poses, self.spec.min_pose_score)
        counts = persons if self.spec.uses_person_boxes else np.array([persons.any()])
        self.accepted = [values for values, counted in zip(self._tap.seen, counts, strict=True) if counted]
        self.not_accepted += len(self._tap.seen) - len(self.accepted)
        return poses


class _InputTap:
    """A backend that copies every input it is given."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seen: list[Tensor] = []

    @property
    def info(self) -> BackendInfo:
        return self._backend.info

    @property
    def input(self) -> TensorInfo:
        return self._backend.input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._backend.outputs

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        def write_and_copy(tensor: Tensor) -> None:
            write(tensor)
            self.seen.append(tensor.copy())

        self._backend.load_input(write_and_copy)

    def invoke(self) -> None:
        self._backend.invoke()

    def read_outputs(self) -> tuple[Tensor, ...]:
        return self._backend.read_outputs()
