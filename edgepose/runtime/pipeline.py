"""The one way from an image to poses: accuracy, benchmark and device all run these very classes.

After the model has run, nothing else is left in the processor's caches: what a frame costs beside it is how
much code and memory it touches for the first time, not how often. So here and in what is called from here
a few numbers are handled as plain floats.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.pose.codecs.blazepose import BlazePoseCodec
from edgepose.pose.codecs.center import CenterCodec
from edgepose.pose.codecs.codec import DecodedPoses, KeypointCodec
from edgepose.pose.codecs.heatmap import HeatmapCodec
from edgepose.pose.codecs.movenet import MovenetCodec
from edgepose.pose.codecs.posenet import PosenetCodec
from edgepose.pose.codecs.simcc import SimccCodec
from edgepose.pose.codecs.yolo_pose import YoloPoseCodec
from edgepose.pose.codecs.yolox import YoloxCodec
from edgepose.pose.poses import Poses
from edgepose.pose.transform import ImageTransform
from edgepose.records.model_spec import (
    BlazePoseCodecSpec,
    BlazePoseDetectorCodecSpec,
    CenterCodecSpec,
    HeatmapCodecSpec,
    ModelSpec,
    MovenetCodecSpec,
    PosenetCodecSpec,
    SimccCodecSpec,
    YoloPoseCodecSpec,
    YoloxCodecSpec,
)
from edgepose.runtime.backend import Backend, BackendInfo, real_outputs
from edgepose.runtime.preprocess import Image, Preprocessor

Stage = Literal["detect", "preprocess", "infer", "decode"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class _Measured:
    __slots__ = ("_elapsed_ns", "_stage", "_start_ns")

    def __init__(self, elapsed_ns: dict[Stage, int], stage: Stage) -> None:
        self._elapsed_ns, self._stage = elapsed_ns, stage

    def __enter__(self) -> None:
        self._start_ns = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._elapsed_ns[self._stage] += time.monotonic_ns() - self._start_ns


class StageTimer:
    """Adds up nanoseconds per stage since the last ``reset``."""

    def __init__(self) -> None:
        self.elapsed_ns: dict[Stage, int] = dict.fromkeys(STAGES, 0)

    def reset(self) -> None:
        """Starts a new frame."""
        for stage in STAGES:
            self.elapsed_ns[stage] = 0

    def measure(self, stage: Stage) -> _Measured:
        """Counts the time spent inside the ``with`` block."""
        return _Measured(self.elapsed_ns, stage)

    def elapsed_ms(self, stage: Stage) -> float:
        """Milliseconds of a stage since the last reset."""
        return self.elapsed_ns[stage] / 1e6


def keypoint_codec(spec: ModelSpec, score_threshold: float | None = None) -> KeypointCodec:
    """Makes the codec of a pose model.

    Args:
        spec: The model's spec.
        score_threshold: Replaces the spec's threshold of a one-stage model (evaluation keeps weak ones).

    Raises:
        ConfigError: This kind cannot be decoded here.
    """
    count, size_wh, codec = spec.pose_skeleton.keypoint_count, spec.input.size_wh, spec.codec
    if isinstance(codec, HeatmapCodecSpec):
        return HeatmapCodec(count, size_wh, codec.subpixel, codec.output)
    if isinstance(codec, SimccCodecSpec):
        return SimccCodec(count, size_wh, codec.split_ratio, codec.outputs)
    if isinstance(codec, MovenetCodecSpec):
        return MovenetCodec(count, size_wh, codec.output)
    if isinstance(codec, YoloPoseCodecSpec):
        threshold = codec.score_threshold if score_threshold is None else score_threshold
        return YoloPoseCodec(count, threshold, codec.nms_iou, codec.max_detections, codec.output)
    if isinstance(codec, PosenetCodecSpec):
        return PosenetCodec(count, size_wh, codec.heatmaps, codec.offsets)
    if isinstance(codec, BlazePoseCodecSpec):
        return BlazePoseCodec(count, codec.output, codec.score_output)
    raise ConfigError(f"Model '{spec.name}' is a person detector and gives no keypoints.")


def detector_codec(spec: ModelSpec, score_threshold: float | None = None) -> YoloxCodec | CenterCodec:
    """Makes the codec of a person detector.

    Raises:
        ConfigError: The spec is not a detector's, or its detector gives no boxes.
    """
    codec = spec.codec
    if isinstance(codec, BlazePoseDetectorCodecSpec):
        raise ConfigError(
            f"'{spec.name}' finds points for BlazePose's own tracking and no person boxes.",
            "It works in `edgepose run` with BlazePose's landmark model; elsewhere give another detector.",
        )
    if not isinstance(codec, YoloxCodecSpec | CenterCodecSpec):
        raise ConfigError(f"Model '{spec.name}' is a {spec.paradigm} pose model, expected a detector.")
    threshold = codec.score_threshold if score_threshold is None else score_threshold
    if isinstance(codec, CenterCodecSpec):
        return CenterCodec(spec.input.size_wh, threshold, codec.nms_iou, codec.max_detections, codec.output)
    return YoloxCodec(
        spec.input.size_wh, codec.class_ids, threshold, codec.nms_iou, codec.max_detections, codec.output
    )


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
        """Estimates the poses in one image.

        Args:
            image: uint8 (H, W, 3), RGB.
            boxes_xyxy_px: (N, 4) person boxes for a model that works on crops, which takes the whole
                image as one box without. Other models ignore it.
            box_scores: (N,) detector scores, which multiply the pose scores.

        Returns:
            One pose per box (also weak ones, in the order of the boxes), or what a whole-image model
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
    kept = are_confident(poses, min_pose_score)
    return poses if kept.all() else poses.select(kept)


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


class PersonDetector:
    """Finds persons in a whole image.

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
