"""Persons as a model sees them, where nobody labelled any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.picture_facts import PictureFacts
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.pipeline import PosePipeline, confident
from edgepose.pose.boxes import enclosing_box
from edgepose.pose.poses import Poses
from edgepose.pose.similarity import BOX_TO_MASK_AREA

# Enough to see what is missing; a folder of thousands need not be run whole.
MAX_PICTURES = 200


def persons_seen(pipeline: PosePipeline, pictures: Sequence[PictureFacts]) -> list[AuditedPerson]:
    """Runs a model over pictures.

    A model that works on crops takes the whole picture as its crop, so it sees one person in each. A
    person's box is the one around the keypoints whose score reaches the spec's ``min_pose_score``.

    Raises:
        ConfigError: A picture vanished.
        ModelError: The model failed.
    """
    found: list[AuditedPerson | None] = []
    for picture in pictures:
        poses = confident(pipeline.estimate(read_image_rgb(picture.path)), pipeline.spec.min_pose_score)
        found.extend(
            _audited(picture, poses, index, pipeline.spec.min_pose_score) for index in range(len(poses))
        )
    return [person for person in found if person is not None]


def sampled(pictures: Sequence[PictureFacts], most: int = MAX_PICTURES) -> list[PictureFacts]:
    """Up to ``most`` pictures, chosen by their digests and so at random but always the same."""
    return sorted(pictures, key=lambda picture: picture.sha256)[:most]


def _audited(picture: PictureFacts, poses: Poses, index: int, min_score: float) -> AuditedPerson | None:
    keypoints, scores = poses.keypoints_px[index], poses.keypoint_scores[index]
    box = enclosing_box(keypoints, scores, min_score)
    if box is None:
        return None
    sure = np.asarray(scores >= min_score, dtype=np.bool_)
    sides = np.maximum(box[2:] - box[:2], 1.0)
    return AuditedPerson(
        file=picture.path.name,
        annotation_id=None,
        image_wh=(picture.width_px, picture.height_px),
        box_xyxy_px=box.astype(np.float64),
        area_px2=float(sides.prod()) * BOX_TO_MASK_AREA,
        names=poses.skeleton.keypoint_names,
        keypoints_px=keypoints.astype(np.float64),
        there=sure,
        visible=sure,
    )
