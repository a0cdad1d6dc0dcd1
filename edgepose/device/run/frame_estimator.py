"""From one image of a stream to the persons worth reporting."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.device.run.following import FollowedPersons, FollowOptions, box_to_follow
from edgepose.errors import ConfigError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.runtime.backend import BackendInfo
from edgepose.runtime.pipeline import PersonDetector, PosePipeline, StageTimer, are_confident, confident


class PoseEstimator(Protocol):
    """Image after image to poses; what the loop of the runtime needs."""

    detect_every: int

    @property
    def skeleton(self) -> Skeleton:
        """What the keypoints are."""
        ...

    @property
    def timer(self) -> StageTimer:
        """Time per stage of the last frame."""
        ...

    @property
    def backend_info(self) -> BackendInfo:
        """What really runs the pose model."""
        ...

    def take_smoothing(self) -> bool:
        """Asks it to steady the keypoints itself; false where it does not and someone else has to."""
        ...

    def estimate(self, image: NDArray[np.uint8], scene_time_ns: int | None = None) -> Poses:
        """Finds persons in the next image.

        Raises:
            ModelError: A model failed.
        """
        ...


class FrameEstimator:
    """A pose model, with a detector or following one person by itself.

    Args:
        detector: In front of it; None lets a model that works on crops look at the whole image at first
            and then follow the person by the keypoints.

    Attributes:
        detect_every: The detector looks at each so-manieth frame, at once where no one is in sight or
            someone was just lost; between, persons are followed by their keypoints. 1 asks it for every one
            and remembers no one: right for images that have nothing to do with each other.

    Raises:
        ConfigError: A detector was given to a model that sees the whole image.
    """

    def __init__(self, pipeline: PosePipeline, detector: PersonDetector | None = None) -> None:
        if detector is not None and not pipeline.spec.uses_person_boxes:
            raise ConfigError(
                f"Model '{pipeline.spec.name}' finds persons in the whole picture by itself.",
                "Leave --detector out.",
            )
        self.detect_every = 1
        self._pipeline = pipeline
        self._detector = detector
        self._persons = FollowedPersons()
        self._follow_options = FollowOptions()
        self._box: NDArray[np.float32] | None = None

    @property
    def skeleton(self) -> Skeleton:
        """What the keypoints are."""
        return self._pipeline.spec.pose_skeleton

    @property
    def timer(self) -> StageTimer:
        """Time per stage of the last frame."""
        return self._pipeline.timer

    @property
    def backend_info(self) -> BackendInfo:
        """What really runs the pose model."""
        return self._pipeline.backend_info

    def take_smoothing(self) -> bool:
        """Does not steady keypoints: someone else has to."""
        return False

    def estimate(self, image: NDArray[np.uint8], scene_time_ns: int | None = None) -> Poses:  # noqa: ARG002
        """Finds in a uint8 (H, W, 3) RGB image who reaches ``min_pose_score`` by the mean keypoint score.

        Raises:
            ModelError: A model failed.
        """
        self.timer.reset()
        if self._detector is not None and self.detect_every > 1:
            return self._estimate_followed(image, self._detector)
        if self._detector is not None:
            return self._reported(self._estimate_detected(image, self._detector))
        if not self._pipeline.spec.uses_person_boxes:
            return self._reported(self._pipeline.estimate(image))
        poses = self._reported(self._pipeline.estimate(image, None if self._box is None else self._box[None]))
        self._box = box_to_follow(poses, (image.shape[1], image.shape[0]), self._follow_options)
        return poses

    def _estimate_detected(self, image: NDArray[np.uint8], detector: PersonDetector) -> Poses:
        with self.timer.measure("detect"):
            boxes, scores = detector.detect(image)
        return self._pipeline.estimate(image, boxes, scores)

    def _estimate_followed(self, image: NDArray[np.uint8], detector: PersonDetector) -> Poses:
        persons = self._persons
        if persons.needs_detection(self.detect_every):
            with self.timer.measure("detect"):
                persons.detected(*detector.detect(image))
        poses = self._pipeline.estimate(image, persons.boxes, persons.scores)
        accepted = are_confident(poses, self._pipeline.spec.min_pose_score)
        return poses.select(persons.seen(poses, accepted, (image.shape[1], image.shape[0])))

    def _reported(self, poses: Poses) -> Poses:
        return confident(poses, self._pipeline.spec.min_pose_score)
