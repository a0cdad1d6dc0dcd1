"""From a spec's codec record to the codec object."""

from __future__ import annotations

from edgepose.errors import ConfigError
from edgepose.pose.codecs.blazepose import BlazePoseCodec
from edgepose.pose.codecs.center import CenterCodec
from edgepose.pose.codecs.codec import KeypointCodec
from edgepose.pose.codecs.heatmap import HeatmapCodec
from edgepose.pose.codecs.movenet import MovenetCodec
from edgepose.pose.codecs.posenet import PosenetCodec
from edgepose.pose.codecs.simcc import SimccCodec
from edgepose.pose.codecs.yolo_pose import YoloPoseCodec
from edgepose.pose.codecs.yolox import YoloxCodec
from edgepose.spec.model_spec import (
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
