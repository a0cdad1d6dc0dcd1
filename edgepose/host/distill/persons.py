"""Who is in the training pictures: a box each, and labels where there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import LabelledPerson, read_coco
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME
from edgepose.pose.skeletons import Skeleton
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.pipeline import PersonDetector
from edgepose.trust.digests import sha256_of_file, sha256_of_list

Progress = Callable[[int, int], None]

# Below, neither a teacher nor a labeller sees limbs.
MIN_BOX_SIDE_PX = 16.0
_MIN_DETECTION_SCORE = 0.5


@dataclass(frozen=True)
class ImageSource:
    """A folder of images, with labels or without.

    Attributes:
        folder: ``DIR`` with ``images/`` and an optional ``person_keypoints.json``, or a bare folder.
        annotations: COCO labels; None takes those in the folder, if any.
    """

    folder: Path
    annotations: Path | None = None

    @property
    def images_dir(self) -> Path:
        """Where the images are."""
        inner = self.folder / "images"
        return inner if inner.is_dir() else self.folder

    @property
    def labels(self) -> Path | None:
        """The labels, or None."""
        inside = self.folder / ANNOTATIONS_FILE_NAME
        return self.annotations or (inside if inside.is_file() else None)


@dataclass(frozen=True, eq=False)
class TrainingPerson:
    """One person to learn from.

    Attributes:
        box_xyxy_px: (4,) float64.
        keypoints_px: (K, 2) float64 in the student's order; (0, 0) where there is no label.
        labelled: (K,) bool.
        source: Index of the folder that the image is from.
    """

    path: Path
    box_xyxy_px: NDArray[np.float64]
    keypoints_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    source: int


@dataclass(frozen=True, eq=False)
class TrainingPersons:
    """Everybody to learn from.

    Attributes:
        persons: Sorted by source and image.
        digest: sha256 over images, boxes and labels.
        images: Number of images with at least one usable person.
        too_small: Persons left out for their size.
    """

    persons: tuple[TrainingPerson, ...]
    digest: str
    images: int
    too_small: int


def collect_persons(
    sources: Sequence[ImageSource],
    skeleton: Skeleton,
    detector: PersonDetector | None = None,
    progress: Progress | None = None,
) -> TrainingPersons:
    """Reads all labels; images without labels take the detector's boxes.

    Labels are matched to the skeleton by name; ``progress`` gets (folders done, folders in all).

    Raises:
        ConfigError: A folder is missing or empty, labels are damaged or share no keypoint with the student,
            a folder has neither labels nor a detector, an image is not readable, or no one is there.
    """
    found: list[TrainingPerson] = []
    for index, source in enumerate(sources):
        if source.labels is not None:
            found.extend(_labelled(source, source.labels, index, skeleton))
        else:
            found.extend(_detected(source, index, skeleton, detector))
        if progress is not None:
            progress(index + 1, len(sources))
    usable = tuple(person for person in found if _is_large_enough(person))
    if not usable:
        folders = ", ".join(str(source.folder) for source in sources)
        raise ConfigError(
            f"There is no person of at least {MIN_BOX_SIDE_PX:g} px in {folders}.",
            "Distillation needs pictures with persons; check the labels or the detector.",
        )
    paths = sorted({person.path for person in usable})
    return TrainingPersons(usable, _digest(usable, paths), len(paths), len(found) - len(usable))


def _labelled(source: ImageSource, annotations: Path, index: int, skeleton: Skeleton) -> list[TrainingPerson]:
    labels = read_coco(annotations, source.images_dir)
    shared = [name for name in skeleton.keypoint_names if name in labels.keypoint_names]
    if not shared:
        raise ConfigError(
            f"The labels {annotations} have none of the student's keypoints: they name "
            f"{', '.join(labels.keypoint_names)}.",
            f"The student is a {skeleton.name} model: {', '.join(skeleton.keypoint_names)}.",
        )
    mine = np.array(skeleton.indices_of(shared))
    theirs = np.array([labels.keypoint_names.index(name) for name in shared])

    def person_of(path: Path, label: LabelledPerson) -> TrainingPerson:
        keypoints = np.zeros((skeleton.keypoint_count, 2))
        labelled = np.zeros(skeleton.keypoint_count, bool)
        keypoints[mine] = label.keypoints_px[theirs]
        labelled[mine] = label.visibility[theirs] > 0
        return TrainingPerson(path, label.box_xyxy_px, keypoints, labelled, index)

    return [
        person_of(image.path, person)
        for image in labels.images
        for person in image.persons
        if not person.is_crowd
    ]


def _detected(
    source: ImageSource, index: int, skeleton: Skeleton, detector: PersonDetector | None
) -> list[TrainingPerson]:
    files = list_image_files(source.images_dir)
    if not files:
        raise ConfigError(f"There is no image in {source.images_dir}.", "Give the folder of the pictures.")
    if detector is None:
        raise ConfigError(
            f"{source.folder} has no labels, so nothing says where the persons are.",
            "Give --annotations, put person_keypoints.json there, or give --detector.",
        )
    count = skeleton.keypoint_count
    persons = []
    for path in files:
        boxes, scores = detector.detect(read_image_rgb(path))
        for box in boxes[scores >= _MIN_DETECTION_SCORE]:
            empty = np.zeros((count, 2)), np.zeros(count, bool)
            persons.append(TrainingPerson(path, box.astype(np.float64), *empty, index))
    return persons


def _is_large_enough(person: TrainingPerson) -> bool:
    x0, y0, x1, y1 = person.box_xyxy_px
    return bool(min(x1 - x0, y1 - y0) >= MIN_BOX_SIDE_PX)


def _digest(persons: Sequence[TrainingPerson], paths: Sequence[Path]) -> str:
    file_digest = {path: sha256_of_file(path) for path in paths}

    def line(person: TrainingPerson) -> str:
        labels = np.column_stack([person.keypoints_px, person.labelled]).ravel()
        numbers = " ".join(f"{value:.2f}" for value in (*person.box_xyxy_px, *labels))
        return f"{file_digest[person.path]} {numbers} {person.source}"

    return sha256_of_list(line(person) for person in persons)
