"""The one way from a picture to poses: accuracy, benchmark and device all run this very class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgepose.inference.backend import Backend, BackendInfo, real_outputs
from edgepose.inference.codec_choice import keypoint_codec
from edgepose.inference.preprocess import Image, Preprocessor
from edgepose.inference.stage_timer import StageTimer
from edgepose.pose.codecs.codec import DecodedPoses
from edgepose.pose.poses import Poses
from edgepose.pose.transform import ImageTransform
from edgepose.spec.model_spec import ModelSpec

Box = NDArray[np.float32]


class PosePipeline:
    """Preprocess, infer, decode, back to image pixels.

    Args:
        backend: The loaded pose model.
        spec: Its spec.
        score_threshold: Replaces the threshold of a one-stage model (evaluation keeps weak ones).

    Attributes:
        spec: The model's spec.
        timer: Time per stage since ``timer.reset()``.

    Raises:
        ConfigError: The spec's codec gives no keypoints.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec, score_threshold: float | None = None) -> None:
        self.spec = spec
        self.timer = StageTimer()
        self._backend = backend
        self._skeleton = spec.pose_skeleton
        self._codec = keypoint_codec(spec, score_threshold)
        self._preprocessor = Preprocessor(spec.input, backend.input)

    @property
    def backend_info(self) -> BackendInfo:
        """What really runs the model."""
        return self._backend.info

    def estimate(
        self,
        image: Image,
        boxes_xyxy_px: NDArray[np.floating] | None = None,
        box_scores: NDArray[np.floating] | None = None,
    ) -> Poses:
        """Estimates the poses in one picture.

        Args:
            image: uint8 (H, W, 3), RGB.
            boxes_xyxy_px: (N, 4) person boxes for a model that works on crops, which takes the whole
                picture as one box without. Other models ignore it.
            box_scores: (N,) detector scores, which multiply the pose scores.

        Returns:
            One pose per box (also weak ones, in the order of the boxes), or what a whole-picture model
            finds. Nothing is filtered by ``min_pose_score`` here.

        Raises:
            ModelError: The model failed or gives another output than its spec says.
        """
        if not self.spec.uses_person_boxes:
            return self._estimate_once(image, None)
        if boxes_xyxy_px is None:
            return self._estimate_once(image, None)
        found = [self._estimate_once(image, box.astype(np.float32)) for box in boxes_xyxy_px]
        if not found:
            return Poses.empty(self._skeleton)
        poses = _stacked(found)
        if box_scores is None:
            return poses
        return replace(poses, scores=(poses.scores * box_scores).astype(np.float32))

    def _estimate_once(self, image: Image, box_xyxy_px: Box | None) -> Poses:
        with self.timer.measure("preprocess"):
            transform = self._preprocessor.transform_for(image, box_xyxy_px)
            self._backend.load_input(lambda tensor: self._preprocessor.write(image, transform, tensor))
        with self.timer.measure("infer"):
            self._backend.invoke()
        with self.timer.measure("decode"):
            decoded = self._codec.decode(real_outputs(self._backend))
            return self._to_image(decoded, transform, image, box_xyxy_px)

    def _to_image(
        self, decoded: DecodedPoses, transform: ImageTransform, image: Image, box_xyxy_px: Box | None
    ) -> Poses:
        keypoints = transform.to_image(decoded.keypoints_input_px).astype(np.float32)
        if decoded.boxes_xyxy_input_px is not None:
            boxes = transform.boxes_to_image(decoded.boxes_xyxy_input_px).astype(np.float32)
        elif box_xyxy_px is not None:
            boxes = box_xyxy_px[None]
        else:
            boxes = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
        return Poses(
            keypoints_px=keypoints,
            keypoint_scores=decoded.keypoint_scores.astype(np.float32, copy=False),
            scores=decoded.scores.astype(np.float32, copy=False),
            skeleton=self._skeleton,
            boxes_xyxy_px=boxes,
        )


def confident(poses: Poses, min_pose_score: float) -> Poses:
    """Keeps the persons whose mean keypoint score reaches ``min_pose_score``."""
    return poses.select(are_confident(poses, min_pose_score))


def are_confident(poses: Poses, min_pose_score: float) -> NDArray[np.bool_]:
    """Which persons reach ``min_pose_score``, bool (N,)."""
    return np.asarray(poses.keypoint_scores.mean(axis=1) >= min_pose_score)


def _stacked(parts: Sequence[Poses]) -> Poses:
    if len(parts) == 1:
        return parts[0]
    return Poses(
        keypoints_px=np.concatenate([p.keypoints_px for p in parts]),
        keypoint_scores=np.concatenate([p.keypoint_scores for p in parts]),
        scores=np.concatenate([p.scores for p in parts]),
        skeleton=parts[0].skeleton,
        boxes_xyxy_px=np.concatenate([p.boxes_xyxy_px for p in parts if p.boxes_xyxy_px is not None]),
    )
