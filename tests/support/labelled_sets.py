"""Labelled persons and predictions made from numbers alone, without pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.coco import CocoDataset, LabelledImage, LabelledPerson
from edgepose.host.evaluate.predictions import BoxesFrom, Predictions
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17

KEYPOINTS = COCO17.keypoint_count


@dataclass(frozen=True)
class Chances:
    """How often the special cases occur in ``random_set``.

    Attributes:
        crowd: A group nobody took apart.
        unlabelled: A person without a labelled keypoint.
        found: A person is detected, once or more.
        ghosts: Most detections of nobody per picture.
        score_levels: Number of different scores; few make many ties.
    """

    crowd: float = 0.15
    unlabelled: float = 0.15
    found: float = 0.9
    ghosts: int = 3
    score_levels: int = 1000


def person(number: int, image: int, keypoints: NDArray[np.float64], crowd: bool = False) -> LabelledPerson:
    """A person labelled with K rows of x, y, visibility; the box is what the rows span."""
    corners = np.concatenate([keypoints[:, :2].min(axis=0), keypoints[:, :2].max(axis=0)])
    sides = np.maximum(corners[2:] - corners[:2], 1.0)
    return LabelledPerson(
        annotation_id=number,
        image_id=image,
        box_xyxy_px=np.concatenate([corners[:2], corners[:2] + sides]),
        keypoints_px=keypoints[:, :2],
        visibility=keypoints[:, 2].astype(np.int64),
        area_px2=float(0.53 * sides.prod()),
        is_crowd=crowd,
    )


def dataset_of(images: Sequence[Sequence[LabelledPerson]]) -> CocoDataset:
    """A data set whose pictures do not exist: scoring never opens them."""
    return CocoDataset(
        images=tuple(
            LabelledImage(number, Path(f"{number}.png"), 640, 480, tuple(persons))
            for number, persons in enumerate(images, start=1)
        ),
        keypoint_names=COCO17.keypoint_names,
        labels_without_image=0,
        images_without_label=0,
        digest="0" * 64,
    )


def poses_of(keypoints_px: Sequence[NDArray[np.float64]], scores: Sequence[float]) -> Poses:
    """N poses with the given scores."""
    points = np.asarray(keypoints_px, dtype=np.float32).reshape(len(scores), KEYPOINTS, 2)
    return Poses(
        keypoints_px=points,
        keypoint_scores=np.ones((len(scores), KEYPOINTS), np.float32),
        scores=np.asarray(scores, dtype=np.float32),
        skeleton=COCO17,
    )


def predictions_of(poses: Sequence[Poses], boxes_from: BoxesFrom = "whole_image") -> Predictions:
    """Predictions whose poses belong to no labelled box."""
    return Predictions(COCO17, tuple(poses), (None,) * len(poses), boxes_from)


def random_set(seed: int, images: int, chances: Chances | None = None) -> tuple[CocoDataset, Predictions]:
    """Persons at random places, and detections from perfect to useless."""
    generator, chances = np.random.default_rng(seed), chances or Chances()
    labelled, found, number = [], [], 0
    for image in range(1, images + 1):
        persons, points = [], []
        for _ in range(generator.integers(0, 6)):
            number += 1
            rows = _random_person(generator, chances)
            persons.append(person(number, image, rows, crowd=bool(generator.random() < chances.crowd)))
            if generator.random() < chances.found:
                points.extend(_detections(generator, rows, int(generator.integers(1, 4))))
        ghosts = int(generator.integers(0, chances.ghosts + 1))
        points.extend(_random_person(generator, chances)[:, :2] for _ in range(ghosts))
        scores = np.round(generator.random(len(points)) * chances.score_levels) / chances.score_levels
        labelled.append(persons)
        found.append(poses_of(points, list(scores)))
    return dataset_of(labelled), predictions_of(found)


def coco_ground_truth(dataset: CocoDataset) -> dict[str, Any]:
    """The labels as pycocotools reads them."""
    return {
        "info": {},
        "images": [{"id": image.id, "width": 640, "height": 480} for image in dataset.images],
        "categories": [{"id": 1, "name": "person", "keypoints": list(dataset.keypoint_names)}],
        "annotations": [
            {
                "id": someone.annotation_id,
                "image_id": image.id,
                "category_id": 1,
                "bbox": [
                    *someone.box_xyxy_px[:2].tolist(),
                    *(someone.box_xyxy_px[2:] - someone.box_xyxy_px[:2]).tolist(),
                ],
                "area": someone.area_px2,
                "iscrowd": int(someone.is_crowd),
                "num_keypoints": someone.keypoint_count,
                "keypoints": np.column_stack([someone.keypoints_px, someone.visibility]).ravel().tolist(),
            }
            for image in dataset.images
            for someone in image.persons
        ],
    }


def coco_detections(dataset: CocoDataset, predictions: Predictions) -> list[dict[str, Any]]:
    """The predictions as pycocotools reads them."""
    return [
        {
            "image_id": image.id,
            "category_id": 1,
            "score": float(score),
            "keypoints": np.column_stack([points, np.ones(len(points))]).astype(np.float64).ravel().tolist(),
        }
        for image, poses in zip(dataset.images, predictions.poses, strict=True)
        for points, score in zip(poses.keypoints_px, poses.scores, strict=True)
    ]


def _random_person(generator: np.random.Generator, chances: Chances) -> NDArray[np.float64]:
    size = generator.uniform(20, 300)
    points = generator.uniform((0, 0), (640, 480)) + generator.uniform(0, size, (KEYPOINTS, 2))
    visibility = generator.integers(0, 3, KEYPOINTS)
    if generator.random() < chances.unlabelled:
        visibility[:] = 0
    return np.column_stack([points, visibility]).astype(np.float64)


def _detections(
    generator: np.random.Generator, rows: NDArray[np.float64], count: int
) -> list[NDArray[np.float64]]:
    size = np.ptp(rows[:, :2], axis=0).max()
    noise = generator.choice([0.0, 0.01, 0.03, 0.06, 0.12, 0.3], size=count)
    return [rows[:, :2] + generator.normal(0, level * size, (KEYPOINTS, 2)) for level in noise]
