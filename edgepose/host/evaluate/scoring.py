"""From predictions and labels to tables from which every figure and interval is read.

PCK@0.2 counts a labelled keypoint as correct when its prediction is at most 0.2 reference lengths away. The
reference is the torso, left shoulder to right hip (Sapp & Taskar 2013, "MODEC"), where the skeleton has both
and both are labelled, and the longer side of the person's box elsewhere. A person whom no detection resembles
is a miss at every labelled keypoint; ignored persons do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.evaluate.average_precision import (
    ImageTruth,
    MatchTable,
    assign_persons,
    collect_matches,
    image_oks,
    match_image,
)
from edgepose.host.evaluate.predictions import BoxesFrom, Predictions
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import SKELETONS, Skeleton, shared_keypoints

PCK_FRACTION = 0.2
_TORSO = ("left_shoulder", "right_hip")

Sums = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KeypointTable:
    """Sums per image, so that a resample is a weighted sum.

    Attributes:
        labelled: (I, K), number of labelled keypoints.
        correct: (I, K), how many of them are correct.
        similarity: (I, K), the sum of their terms ``exp(-d^2 / (2 s^2 k^2))`` of the OKS.
    """

    labelled: Sums
    correct: Sums
    similarity: Sums

    def pck(self, weights: NDArray[np.int64]) -> Sums:
        """PCK over all keypoints for each of R resamples: (R,), NaN where nothing is labelled."""
        return _ratio(weights @ self.correct.sum(axis=1), weights @ self.labelled.sum(axis=1))

    def pck_per_keypoint(self, weights: NDArray[np.int64]) -> Sums:
        """(R, K)."""
        return _ratio(weights @ self.correct, weights @ self.labelled)

    def similarity_per_keypoint(self, weights: NDArray[np.int64]) -> Sums:
        """Mean OKS term: (R, K)."""
        return _ratio(weights @ self.similarity, weights @ self.labelled)


def keypoint_sums(
    keypoints_px: NDArray[np.floating],
    assigned: NDArray[np.intp],
    truth: ImageTruth,
    keypoint_names: Sequence[str],
    sigmas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Counts one image.

    Args:
        keypoints_px: (N, K, 2), the detections.
        assigned: (M,), which detection belongs to which person, -1 for none.
        truth: The M persons.
        keypoint_names: K names.
        sigmas: (K,).

    Returns:
        (3, K): labelled, correct and similarity as ``KeypointTable`` sums them.
    """
    counted = truth.labelled & ~truth.ignored[:, None]
    distance = np.full(counted.shape, np.inf)
    found = assigned >= 0
    delta = keypoints_px[assigned[found]].astype(np.float64) - truth.keypoints_px[found]
    distance[found] = np.linalg.norm(delta, axis=-1)
    limit = PCK_FRACTION * _reference_lengths(truth, keypoint_names)
    spread = 2 * np.square(2 * sigmas) * (truth.area_px2[:, None] + np.spacing(1))
    similarity = np.exp(-np.square(distance) / spread)
    return np.array(
        [
            counted.sum(axis=0),
            (counted & (distance <= limit[:, None])).sum(axis=0),
            np.where(counted, similarity, 0.0).sum(axis=0),
        ]
    )


def collect_keypoints(sums: Sequence[NDArray[np.float64]]) -> KeypointTable:
    """Joins the images."""
    labelled, correct, similarity = np.stack(sums, axis=1)
    return KeypointTable(labelled, correct, similarity)


def _reference_lengths(truth: ImageTruth, keypoint_names: Sequence[str]) -> NDArray[np.float64]:
    """(M,) in pixels."""
    sides = truth.boxes_xyxy_px[:, 2:] - truth.boxes_xyxy_px[:, :2]
    lengths: NDArray[np.float64] = sides.max(axis=1, initial=0.0)
    if not all(name in keypoint_names for name in _TORSO):
        return lengths
    shoulder, hip = (list(keypoint_names).index(name) for name in _TORSO)
    torso = np.linalg.norm(truth.keypoints_px[:, shoulder] - truth.keypoints_px[:, hip], axis=-1)
    usable = truth.labelled[:, shoulder] & truth.labelled[:, hip] & (torso > 0)
    return np.where(usable, torso, lengths)


def _ratio(part: Sums, whole: Sums) -> Sums:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


# For each slice and picture: which of the labelled persons belong to it, (M,).
Membership = Mapping[str, Sequence[NDArray[np.bool_]]]


@dataclass(frozen=True, eq=False)
class SharedKeypoints:
    """The keypoints on which a model and a data set are compared.

    Attributes:
        names: K names, in the order of the data.
        model_columns: (K,) index in the model's skeleton.
        data_columns: (K,) index in the data's keypoints.
        sigmas: (K,), the data's.
        complete: Whether that is every keypoint of the data.
    """

    names: tuple[str, ...]
    model_columns: NDArray[np.intp]
    data_columns: NDArray[np.intp]
    sigmas: NDArray[np.float64]
    complete: bool


@dataclass(frozen=True, eq=False)
class SliceScore:
    """One slice.

    Attributes:
        persons: Number of scored persons in it.
        matches: Its own matching: everybody outside is ignored.
    """

    persons: int
    matches: MatchTable


@dataclass(frozen=True, eq=False)
class Scores:
    """Everything that figures are read from; persons are those that were scored."""

    shared: SharedKeypoints
    images: int
    persons: int
    matches: MatchTable
    keypoints: KeypointTable
    slices: dict[str, SliceScore]


def score(predictions: Predictions, dataset: CocoDataset, membership: Membership | None = None) -> Scores:
    """Scores what ``predict`` found on the same data set.

    A slice ignores everybody outside its membership, as COCO's area ranges do. A detection belongs to the
    person whose box it was cut from or overlaps most; one that overlaps no one belongs to no slice.

    Raises:
        ConfigError: Model and data share no keypoint, or no person has one of the shared keypoints.
    """
    shared = keypoints_in_common(predictions.skeleton, dataset.keypoint_names)
    truths = [_truth(image, shared.data_columns) for image in dataset.images]
    persons = sum(int((~truth.ignored).sum()) for truth in truths)
    if persons == 0:
        raise ConfigError(
            f"No person in the data has a label for {', '.join(shared.names)}: nothing can be measured."
        )
    detected = [poses.keypoints_px[:, shared.model_columns] for poses in predictions.poses]
    similarity = [image_oks(px, truth, shared.sigmas) for px, truth in zip(detected, truths, strict=True)]
    scores = [poses.scores for poses in predictions.poses]
    sums = [
        keypoint_sums(px, assign_persons(oks, truth), truth, shared.names, shared.sigmas)
        for px, oks, truth in zip(detected, similarity, truths, strict=True)
    ]
    matches = [match_image(*image) for image in zip(similarity, scores, truths, strict=True)]
    owners = _owners(predictions, truths)
    slices = {
        name: _score_slice(inside, similarity, scores, truths, owners)
        for name, inside in (membership or {}).items()
    }
    return Scores(
        shared=shared,
        images=len(truths),
        persons=persons,
        matches=collect_matches(matches),
        keypoints=collect_keypoints(sums),
        slices=slices,
    )


def keypoints_in_common(model: Skeleton, data_names: tuple[str, ...]) -> SharedKeypoints:
    """Matches a model's skeleton with the keypoints of a data set by name.

    The sigmas are those of the built-in skeleton with exactly the data's names, else the model's own.

    Raises:
        ConfigError: They have no keypoint in common.
    """
    known = (skeleton for skeleton in SKELETONS.values() if skeleton.keypoint_names == data_names)
    data = next(known, None)
    if data is None:
        shared_names = tuple(name for name in data_names if name in model.keypoint_names)
        sigmas = tuple(model.oks_sigmas[i] for i in model.indices_of(shared_names))
    else:
        pairs = shared_keypoints(model, data)
        shared_names = tuple(data.keypoint_names[i] for i in pairs[:, 1])
        sigmas = tuple(data.oks_sigmas[i] for i in pairs[:, 1])
    if not shared_names:
        raise ConfigError(
            f"The model's skeleton '{model.name}' and the data have no keypoint name in common; "
            f"the data has {', '.join(data_names)}."
        )
    return SharedKeypoints(
        names=shared_names,
        model_columns=np.asarray(model.indices_of(shared_names), dtype=np.intp),
        data_columns=np.asarray([data_names.index(name) for name in shared_names], dtype=np.intp),
        sigmas=np.asarray(sigmas, dtype=np.float64),
        complete=len(shared_names) == len(data_names),
    )


def _truth(image: LabelledImage, columns: NDArray[np.intp]) -> ImageTruth:
    persons, count = image.persons, len(image.persons)
    keypoints = np.array([p.keypoints_px[columns] for p in persons]).reshape(count, len(columns), 2)
    visibility = np.array([p.visibility[columns] for p in persons]).reshape(count, len(columns))
    return ImageTruth(
        keypoints_px=keypoints,
        labelled=visibility > 0,
        boxes_xyxy_px=np.array([p.box_xyxy_px for p in persons]).reshape(count, 4),
        area_px2=np.array([p.area_px2 for p in persons], dtype=np.float64),
        is_crowd=np.array([p.is_crowd for p in persons], dtype=bool),
    )


def _owners(predictions: Predictions, truths: Sequence[ImageTruth]) -> list[NDArray[np.intp]]:
    """For each image the labelled person that each detection belongs to, -1 for no one."""
    owners = []
    for poses, cut_from, truth in zip(predictions.poses, predictions.cut_from, truths, strict=True):
        if cut_from is not None:
            owners.append(cut_from)
            continue
        overlap = iou_matrix(_pose_boxes(poses, predictions.boxes_from), truth.boxes_xyxy_px)
        if overlap.shape[1] == 0:
            owners.append(np.full(len(poses), -1, dtype=np.intp))
            continue
        owners.append(np.where(overlap.max(axis=1) > 0, overlap.argmax(axis=1), -1))
    return owners


def _pose_boxes(poses: Poses, boxes_from: BoxesFrom) -> NDArray[np.float32]:
    """(N, 4): the detector's boxes, or what the keypoints span."""
    if boxes_from == "detector" and poses.boxes_xyxy_px is not None:
        return poses.boxes_xyxy_px
    return np.concatenate([poses.keypoints_px.min(axis=1), poses.keypoints_px.max(axis=1)], axis=1)


def _score_slice(
    inside: Sequence[NDArray[np.bool_]],
    similarity: Sequence[NDArray[np.float64]],
    scores: Sequence[NDArray[np.floating]],
    truths: Sequence[ImageTruth],
    owners: Sequence[NDArray[np.intp]],
) -> SliceScore:
    matches = []
    for members, oks, values, truth, owner in zip(inside, similarity, scores, truths, owners, strict=True):
        # The appended False answers for owner -1.
        belongs = np.append(members, False)[owner]
        matches.append(match_image(oks, values, truth, ~members, ~belongs))
    table = collect_matches(matches)
    return SliceScore(int(table.persons_per_image.sum()), table)
