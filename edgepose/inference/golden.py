"""How well a model reproduces an expected pose: at build time and on the device, the same code."""

from __future__ import annotations

import numpy as np

from edgepose.inference.pipeline import PosePipeline
from edgepose.inference.preprocess import Image
from edgepose.pose.poses import Poses
from edgepose.pose.similarity import oks_between
from edgepose.spec.lineage import GoldenPose

# A one-stage model finds a drawn figure with little confidence, which is enough to compare poses. Open
# pipelines that replay golden frames with this score threshold.
GOLDEN_SCORE_THRESHOLD = 0.001

BoxXyxy = tuple[float, float, float, float]


def estimate_in_box(pipeline: PosePipeline, image: Image, box_xyxy_px: BoxXyxy | None) -> Poses:
    """Runs a model on a picture, in the box where there is one.

    Args:
        pipeline: The model, opened with ``GOLDEN_SCORE_THRESHOLD``.
        image: uint8 (H, W, 3), RGB.
        box_xyxy_px: Person box, or None for the whole picture.

    Raises:
        ModelError: The model failed.
    """
    boxes = None if box_xyxy_px is None else np.array([box_xyxy_px], np.float32)
    return pipeline.estimate(image, boxes)


def golden_oks(pipeline: PosePipeline, image: Image, expected: GoldenPose) -> float:
    """OKS between the expected pose and the found one that is nearest to it; 0 where nothing is found.

    Args:
        pipeline: The model, opened with ``GOLDEN_SCORE_THRESHOLD``.
        image: uint8 (H, W, 3), RGB: the golden picture.
        expected: What the float parent saw in it.

    Raises:
        ModelError: The model failed.
    """
    poses = estimate_in_box(pipeline, image, expected.box_xyxy_px)
    wanted_px = np.array(expected.keypoints, np.float64)[:, :2]
    sigmas = pipeline.spec.pose_skeleton.sigmas
    found = [oks_between(pose, wanted_px, expected.area_px2, sigmas) for pose in poses.keypoints_px]
    return max((value for value in found if np.isfinite(value)), default=0.0)
