"""How much a shipped model sees what its float parent sees, where no one labelled anything.

Only what the float parent is sure of is compared: poses whose mean keypoint score reaches the spec's
``min_pose_score``, and in them the keypoints whose own score does. Where the parent itself only guesses (a
leg outside the image), its guess is no truth to hold against the other model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.data.calibration_set import CropSample
from edgepose.pose.poses import Poses
from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_matrix
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.pipeline import PosePipeline, confident
from edgepose.runtime.preprocess import Image

# An image and the person's box (4,) xyxy in its pixels; None for the whole image.
Sample = tuple[Image, NDArray[np.floating] | None]


@dataclass(frozen=True)
class AgreementReport:
    """The comparison.

    Attributes:
        mean_oks: Mean OKS over the compared poses; None where there was none.
        worst_oks: The lowest OKS; None where there was none.
    """

    mean_oks: float | None
    worst_oks: float | None
    poses: int
    samples: int


def read_crops(crops: Iterable[CropSample]) -> Iterator[Sample]:
    """Reads the image of each crop when its turn comes."""
    for crop in crops:
        yield read_image_rgb(crop.image_path), crop.box_xyxy_px


def mean_agreement_oks(
    float_pipeline: PosePipeline, shipped_pipeline: PosePipeline, samples: Iterable[Sample]
) -> AgreementReport:
    """Runs both models on the same samples, which neither calibration nor training used.

    The area of the OKS is that of the sample's box, or of the box that the parent's confident keypoints
    span, times ``BOX_TO_MASK_AREA``. Persons of a model that sees the whole image are matched by the
    best OKS, each once; a person that the shipped model does not find counts 0.

    Raises:
        ModelError: A model failed, gave values that are not finite, or both have different keypoints.
    """
    names = (
        float_pipeline.spec.pose_skeleton.keypoint_names,
        shipped_pipeline.spec.pose_skeleton.keypoint_names,
    )
    if names[0] != names[1]:
        raise ModelError("The shipped model and its float parent have different keypoints.")
    found: list[float] = []
    seen = 0
    for image, box in samples:
        seen += 1
        boxes = None if box is None else np.asarray(box, dtype=np.float64)[None]
        expected = confident(float_pipeline.estimate(image, boxes), float_pipeline.spec.min_pose_score)
        if len(expected):
            shipped = shipped_pipeline.estimate(image, boxes)
            found.extend(best_oks(expected, shipped, box, float_pipeline.spec.min_pose_score))
    if not found:
        return AgreementReport(None, None, 0, seen)
    return AgreementReport(float(np.mean(found)), float(np.min(found)), len(found), seen)


def best_oks(
    expected: Poses, shipped: Poses, box: NDArray[np.floating] | None, min_score: float
) -> list[float]:
    """OKS of each expected pose with the shipped pose that was matched to it, 0 without."""
    if not (np.isfinite(shipped.keypoints_px).all() and np.isfinite(expected.keypoints_px).all()):
        raise ModelError("A model gives keypoints that are not finite.", "The model is damaged.")
    sure = expected.keypoint_scores >= min_score
    area = np.array([_area_px2(px[mask], box) for px, mask in zip(expected.keypoints_px, sure, strict=True)])
    similarity = oks_matrix(shipped.keypoints_px, expected.keypoints_px, sure, area, expected.skeleton.sigmas)
    best = np.zeros(len(expected))
    while similarity.size and similarity.max() > 0:
        taken, person = np.unravel_index(similarity.argmax(), similarity.shape)
        best[person] = similarity[taken, person]
        similarity[taken], similarity[:, person] = 0.0, 0.0
    return [float(value) for value in best]


def _area_px2(points_px: NDArray[np.floating], box: NDArray[np.floating] | None) -> float:
    corners = (points_px.min(axis=0), points_px.max(axis=0)) if box is None else (box[:2], box[2:])
    width, height = np.maximum(np.asarray(corners[1]) - np.asarray(corners[0]), 1.0)
    return float(width * height) * BOX_TO_MASK_AREA
