"""What a model sees in labelled pictures: prediction, apart from scoring.

Everything runs through the very ``PosePipeline`` that ships.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.evaluate.average_precision import MAX_DETECTIONS
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.pipeline import PersonDetector, PosePipeline
from edgepose.runtime.preprocess import Image

# Weak detections cost little precision and find the last persons: the threshold of COCO evaluations.
EVALUATION_SCORE_THRESHOLD = 0.001

BoxesFrom = Literal["labels", "detector", "whole_image"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The poses that a model finds in each image of a data set.

    Attributes:
        poses: One entry per image, in the order of the data set.
        cut_from: One entry per picture: (N,) index of the labelled person whose box each pose was cut
            from, or None where the boxes do not come from the labels.
    """

    skeleton: Skeleton
    poses: tuple[Poses, ...]
    cut_from: tuple[NDArray[np.intp] | None, ...]
    boxes_from: BoxesFrom


def predict(
    pipeline: PosePipeline,
    dataset: CocoDataset,
    detector: PersonDetector | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Runs a model over a data set.

    A model that works on crops gets the box of every labelled person that an evaluation counts, or the
    best ``MAX_DETECTIONS`` boxes of the detector, whose scores multiply those of the poses. Other models
    see the whole image.

    Args:
        pipeline: The model; open a one-stage model with ``EVALUATION_SCORE_THRESHOLD``.
        dataset: Labelled images.
        detector: Gives the boxes instead of the labels; open it with the same threshold.
        progress: Called with (images done, images in all).

    Raises:
        ConfigError: An image is not readable or has another size than its labels say, or a detector was
            given for a model that sees the whole image.
        ModelError: The model failed, or its keypoints or scores are not finite.
    """
    boxes_from = _boxes_from(pipeline, detector)
    poses: list[Poses] = []
    cut_from: list[NDArray[np.intp] | None] = []
    for done, labelled in enumerate(dataset.images, start=1):
        image = read_labelled_image(labelled)
        owners = None
        if boxes_from == "labels":
            owners = np.array([i for i, p in enumerate(labelled.persons) if p.is_scored], dtype=np.intp)
        found = _estimate(pipeline, image, labelled, detector, owners)
        _require_finite(found, labelled)
        poses.append(found)
        cut_from.append(owners)
        if progress is not None:
            progress(done, len(dataset.images))
    return Predictions(pipeline.spec.pose_skeleton, tuple(poses), tuple(cut_from), boxes_from)


def read_labelled_image(labelled: LabelledImage) -> Image:
    """Reads an image and holds it against its labels.

    Raises:
        ConfigError: It is not readable, or its size is not the labels'.
    """
    image = read_image_rgb(labelled.path)
    if image.shape[:2] != (labelled.height_px, labelled.width_px):
        raise ConfigError(
            f"{labelled.path} is {image.shape[1]} x {image.shape[0]} pixels; its labels say "
            f"{labelled.width_px} x {labelled.height_px}.",
            "The picture was resized or turned after labelling; use the one that was labelled.",
        )
    return image


def _boxes_from(pipeline: PosePipeline, detector: PersonDetector | None) -> BoxesFrom:
    if pipeline.spec.uses_person_boxes:
        return "labels" if detector is None else "detector"
    if detector is not None:
        raise ConfigError(
            f"Model '{pipeline.spec.name}' sees the whole picture, so a detector changes nothing.",
            "Leave --detector out.",
        )
    return "whole_image"


def _estimate(
    pipeline: PosePipeline,
    image: Image,
    labelled: LabelledImage,
    detector: PersonDetector | None,
    owners: NDArray[np.intp] | None,
) -> Poses:
    if owners is not None:
        labels = np.array([labelled.persons[i].box_xyxy_px for i in owners]).reshape(-1, 4)
        return pipeline.estimate(image, labels)
    if detector is not None:
        boxes, scores = detector.detect(image)
        return pipeline.estimate(image, boxes[:MAX_DETECTIONS], scores[:MAX_DETECTIONS])
    return pipeline.estimate(image)


def _require_finite(found: Poses, labelled: LabelledImage) -> None:
    for name, values in (("keypoints", found.keypoints_px), ("scores", found.scores)):
        if not np.isfinite(values).all():
            raise ModelError(
                f"The model gives {name} that are not finite for {labelled.path.name}.",
                "The model is damaged; a figure cannot be made from it.",
            )
