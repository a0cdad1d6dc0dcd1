"""Reads labelled images in the COCO keypoint format, strictly.

What is wrong in the labels is an error that names the place; what is merely absent on one side (a label
whose image is missing, an image without a label) is counted, because people share such folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.runtime.image_file import list_image_files
from edgepose.trust.digests import sha256_of_file, sha256_of_list


@dataclass(frozen=True, eq=False)
class LabelledPerson:
    """One annotation.

    Attributes:
        box_xyxy_px: float64 (4,), in image pixels.
        keypoints_px: float64 (K, 2), x then y; (0, 0) where ``visibility`` is 0.
        visibility: int64 (K,): 0 not labelled, 1 labelled and hidden, 2 visible.
        area_px2: Object area.
        is_crowd: Whether the annotation stands for a whole group.
    """

    annotation_id: int
    image_id: int
    box_xyxy_px: NDArray[np.float64]
    keypoints_px: NDArray[np.float64]
    visibility: NDArray[np.int64]
    area_px2: float
    is_crowd: bool

    @property
    def keypoint_count(self) -> int:
        """Number of labelled keypoints (COCO's ``num_keypoints``)."""
        return int(np.count_nonzero(self.visibility))

    @property
    def is_scored(self) -> bool:
        """Whether an evaluation counts this person: no crowd, at least one labelled keypoint."""
        return not self.is_crowd and self.keypoint_count > 0


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image that exists: its size as the labels say, and the persons labelled in it, in their order."""

    id: int
    path: Path
    width_px: int
    height_px: int
    persons: tuple[LabelledPerson, ...]


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """Labelled images.

    Attributes:
        images: Sorted by id.
        keypoint_names: The K names of category ``person``.
        labels_without_image: Person annotations (and images listed without a person) whose file is
            missing.
        images_without_label: Image files in the folder that the annotations do not list.
        digest: sha256 over the sorted digests of the used images and the annotations' digest.
    """

    images: tuple[LabelledImage, ...]
    keypoint_names: tuple[str, ...]
    labels_without_image: int
    images_without_label: int
    digest: str

    @property
    def scored_persons(self) -> int:
        """Number of persons that an evaluation counts."""
        return sum(person.is_scored for image in self.images for person in image.persons)


class _RawImage(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _RawAnnotation(msgspec.Struct):
    id: int
    image_id: int
    category_id: int
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int | None = None
    keypoints: list[float] | None = None
    num_keypoints: int | None = None


class _RawCategory(msgspec.Struct):
    id: int
    name: str
    keypoints: list[str] | None = None


class _RawCoco(msgspec.Struct):
    images: list[_RawImage]
    annotations: list[_RawAnnotation]
    categories: list[_RawCategory]


def read_coco(annotations: Path, images_dir: Path) -> CocoDataset:
    """Reads a COCO keypoint file and finds its images.

    Only category ``person`` is read. Images are looked up under ``images_dir`` by ``file_name``.

    Raises:
        ConfigError: The file is not such JSON, a field is missing or wrong (the message names the place),
            an id is used twice, the folder is missing, or no labelled person with an image is left.
    """
    raw = _parse(annotations)
    where = str(annotations)
    category, keypoint_names = _person_category(raw, where)
    _refuse_duplicates(raw, where)
    present = {path.resolve() for path in list_image_files(images_dir)}
    persons: dict[int, list[LabelledPerson]] = {}
    for annotation in raw.annotations:
        if annotation.category_id == category:
            person = _person(annotation, len(keypoint_names), f"{where}, annotation {annotation.id}")
            persons.setdefault(annotation.image_id, []).append(person)
    images: list[LabelledImage] = []
    labels_without_image = sum(len(persons[i]) for i in set(persons) - {image.id for image in raw.images})
    for image in sorted(raw.images, key=lambda entry: entry.id):
        path = _image_path(image, images_dir, where)
        inside = tuple(persons.get(image.id, ()))
        if path.is_file():
            images.append(LabelledImage(image.id, path, image.width, image.height, inside))
        else:
            labels_without_image += max(len(inside), 1)
    if not any(not person.is_crowd for image in images for person in image.persons):
        raise ConfigError(
            f"{where} and {images_dir} have no labelled person in common: "
            f"{labels_without_image} labels have no picture.",
            "Check that --images is the folder that the labels' file_name refers to.",
        )
    listed = {image.path.resolve() for image in images}
    return CocoDataset(
        images=tuple(images),
        keypoint_names=keypoint_names,
        labels_without_image=labels_without_image,
        images_without_label=len(present - listed),
        digest=sha256_of_list(
            [*sorted(sha256_of_file(image.path) for image in images), sha256_of_file(annotations)]
        ),
    )


def _parse(annotations: Path) -> _RawCoco:
    try:
        data = annotations.read_bytes()
    except OSError as problem:
        raise ConfigError(f"Cannot read the annotations {annotations}: {problem.strerror}.") from problem
    try:
        return msgspec.json.decode(data, type=_RawCoco)
    except msgspec.ValidationError as problem:
        raise ConfigError(
            f"{annotations} is no COCO keypoint file: {problem}.",
            "Expected an object with images, annotations and categories.",
        ) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise ConfigError(f"{annotations} is not valid JSON: {problem}.") from problem


def _person_category(raw: _RawCoco, where: str) -> tuple[int, tuple[str, ...]]:
    persons = [category for category in raw.categories if category.name == "person"]
    if len(persons) != 1:
        found = ", ".join(category.name for category in raw.categories) or "none"
        raise ConfigError(f"{where} needs exactly one category named 'person', found categories: {found}.")
    names = tuple(persons[0].keypoints or ())
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            f"{where}: category 'person' needs a list of unique keypoint names, found {list(names)}.",
            "Use the person_keypoints file, not the instances file.",
        )
    return persons[0].id, names


def _refuse_duplicates(raw: _RawCoco, where: str) -> None:
    for what, values in (
        ("images: id", [image.id for image in raw.images]),
        ("images: file_name", [image.file_name for image in raw.images]),
        ("annotations: id", [annotation.id for annotation in raw.annotations]),
    ):
        twice = [str(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ConfigError(f"{where}, {what} must be unique, used more than once: {', '.join(twice[:5])}.")


def _image_path(image: _RawImage, images_dir: Path, where: str) -> Path:
    name = PurePosixPath(image.file_name)
    if not image.file_name or name.is_absolute() or ".." in name.parts or "\0" in image.file_name:
        raise ConfigError(
            f"{where}, image {image.id}: file_name '{image.file_name}' must stay inside the folder."
        )
    if image.width < 1 or image.height < 1:
        raise ConfigError(
            f"{where}, image {image.id}: the size {image.width} x {image.height} must be at least 1 x 1."
        )
    return images_dir / name


def _person(annotation: _RawAnnotation, keypoint_count: int, place: str) -> LabelledPerson:
    for name in ("bbox", "area", "iscrowd", "keypoints"):
        if getattr(annotation, name) is None:
            raise ConfigError(f"{place} has no {name}.", "Every person needs bbox, area, iscrowd, keypoints.")
    box = _numbers(annotation.bbox or (), 4, f"{place}: bbox")
    keypoints = _numbers(annotation.keypoints or (), 3 * keypoint_count, f"{place}: keypoints").reshape(-1, 3)
    area = float(_numbers([annotation.area or 0.0], 1, f"{place}: area")[0])
    if annotation.iscrowd not in {0, 1}:
        raise ConfigError(f"{place}: iscrowd must be 0 or 1, found {annotation.iscrowd}.")
    visibility = keypoints[:, 2].astype(np.int64)
    if not np.isin(keypoints[:, 2], (0, 1, 2)).all():
        raise ConfigError(f"{place}: the visibility of a keypoint must be 0, 1 or 2.")
    labelled = int(np.count_nonzero(visibility))
    if annotation.num_keypoints is not None and annotation.num_keypoints != labelled:
        raise ConfigError(
            f"{place}: num_keypoints says {annotation.num_keypoints}, but {labelled} are labelled."
        )
    if min(box[2], box[3], area) < 0 or (labelled and min(box[2], box[3], area) <= 0):
        raise ConfigError(f"{place}: width and height of bbox and area must be above 0.")
    return LabelledPerson(
        annotation_id=annotation.id,
        image_id=annotation.image_id,
        box_xyxy_px=np.concatenate([box[:2], box[:2] + box[2:]]),
        keypoints_px=keypoints[:, :2],
        visibility=visibility,
        area_px2=area,
        is_crowd=annotation.iscrowd == 1,
    )


def _numbers(values: Sequence[float], count: int, place: str) -> NDArray[np.float64]:
    if len(values) != count:
        raise ConfigError(f"{place} needs {count} numbers, found {len(values)}.")
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ConfigError(f"{place} holds a number that is not finite.")
    return numbers
