"""Follows one person by the keypoints, for a model that works on crops and has no detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.boxes import enclosing_box
from edgepose.pose.poses import Poses

Box = NDArray[np.float32]


@dataclass(frozen=True)
class FollowOptions:
    """How a box is made from keypoints.

    Attributes:
        min_keypoint_score: Keypoints below do not shape the box.
        min_keypoints: Fewer confident keypoints than this are no person to follow.
        growth: Both sides are multiplied by this: keypoints lie inside the body, labelled boxes around it,
            and the person moves until the next frame.
        min_side_share: A box side is at least this share of the picture's shorter side.
    """

    min_keypoint_score: float = 0.2
    min_keypoints: int = 4
    growth: float = 1.25
    min_side_share: float = 0.04


def box_to_follow(poses: Poses, image_wh: tuple[int, int], options: FollowOptions) -> Box | None:
    """Says where the person of this frame will be in the next one.

    Args:
        poses: What the model saw in this frame and what may be reported: nobody, or one person.
        image_wh: Picture size in pixels.
        options: How the box is made.

    Returns:
        (4,) xyxy in image pixels, inside the picture and never empty; None: look at the whole picture.
    """
    if not len(poses):
        return None
    confident = poses.keypoint_scores[0] >= options.min_keypoint_score
    box = enclosing_box(poses.keypoints_px[0], poses.keypoint_scores[0], options.min_keypoint_score)
    if box is None or confident.sum() < options.min_keypoints or not np.isfinite(box).all():
        return None
    least_px = options.min_side_share * min(image_wh)
    centre = (box[:2] + box[2:]) / 2
    half = np.maximum((box[2:] - box[:2]) * options.growth, least_px) / 2
    limits = np.array(image_wh, np.float32)
    low, high = np.clip(centre - half, 0, limits), np.clip(centre + half, 0, limits)
    if (high - low).min() < 1:
        return None
    return np.concatenate([low, high]).astype(np.float32)
