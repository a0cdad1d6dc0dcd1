"""A user's folder of images, with or without labels.

``DIR/images/`` with an optional ``DIR/person_keypoints.json`` (COCO), or a bare folder of images. What
cannot be used is counted and reported; only a folder with nothing usable is an error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, LabelledImage, read_coco
from edgepose.records.quantization import DataFolderCounts
from edgepose.runtime.image_file import list_image_files
from edgepose.trust.digests import sha256_of_bytes, sha256_of_list

ANNOTATIONS_FILE_NAME = "person_keypoints.json"

Box = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DataImage:
    """A picture that can be decoded.

    Attributes:
        path: The file.
        sha256: Digest of the file.
        brightness: Mean grey value, 0 to 255.
        person_boxes_xyxy_px: The labelled persons' boxes, each float32 (4,); None where the picture has
            no label, empty where the labels say that nobody is there.
    """

    path: Path
    sha256: str
    brightness: float
    person_boxes_xyxy_px: tuple[Box, ...] | None


@dataclass(frozen=True, eq=False)
class DataFolder:
    """What a folder holds.

    Attributes:
        path: The folder as given.
        images: The usable pictures, sorted by name.
        unreadable: Files that look like pictures by their name and cannot be decoded.
        other_files: Number of files that are neither pictures nor the labels.
        has_labels: Whether there is an annotations file.
        labels_without_image: Labels whose picture is missing.
        images_without_label: Usable pictures that no label mentions.
    """

    path: Path
    images: tuple[DataImage, ...]
    unreadable: tuple[Path, ...]
    other_files: int
    has_labels: bool
    labels_without_image: int
    images_without_label: int

    @property
    def digest(self) -> str:
        """sha256 over the sorted digests of the usable pictures."""
        return sha256_of_list(sorted(image.sha256 for image in self.images))

    @property
    def exact_duplicates(self) -> int:
        """Number of pictures beyond the first of each content."""
        return sum(count - 1 for count in Counter(image.sha256 for image in self.images).values())

    @property
    def counts(self) -> DataFolderCounts:
        """The figures for a report."""
        return DataFolderCounts(
            images=len(self.images),
            unreadable=len(self.unreadable),
            other_files=self.other_files,
            exact_duplicates=self.exact_duplicates,
            has_labels=self.has_labels,
            labels_without_image=self.labels_without_image,
            images_without_label=self.images_without_label,
        )


def open_data_folder(folder: Path) -> DataFolder:
    """Looks at every file of a data folder; each picture is decoded once.

    Args:
        folder: ``DIR`` with ``images/`` and an optional ``person_keypoints.json``, or a bare folder of
            images (which may have the labels beside them).

    Raises:
        ConfigError: The folder is missing, the labels are damaged, or no picture can be used.
    """
    images_dir = _images_dir(folder)
    files = list_image_files(images_dir)
    annotations = folder / ANNOTATIONS_FILE_NAME
    labels = read_coco(annotations, images_dir) if annotations.is_file() else None
    boxes = {} if labels is None else _boxes_by_path(labels)
    readable, unreadable = [], []
    for path in files:
        image = _read_image(path, boxes.get(path.resolve()))
        if image is None:
            unreadable.append(path)
        else:
            readable.append(image)
    other_files = sum(p.is_file() for p in images_dir.iterdir()) - len(files)
    if images_dir == folder and labels is not None:
        other_files -= 1
    if not readable:
        raise _nothing_usable(images_dir, len(unreadable), other_files)
    return DataFolder(
        path=folder,
        images=tuple(readable),
        unreadable=tuple(unreadable),
        other_files=other_files,
        has_labels=labels is not None,
        labels_without_image=0 if labels is None else labels.labels_without_image,
        images_without_label=sum(image.person_boxes_xyxy_px is None for image in readable),
    )


def _images_dir(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is not a folder; expected one with images.",
            "Give a folder of images, or one with images/ and person_keypoints.json in it.",
        )
    return folder / "images" if (folder / "images").is_dir() else folder


def _boxes_by_path(labels: CocoDataset) -> dict[Path, tuple[Box, ...]]:
    """The boxes of persons with labelled keypoints; of all persons where nobody has keypoints."""
    only_scored = labels.scored_persons > 0
    return {image.path.resolve(): _boxes(image, only_scored=only_scored) for image in labels.images}


def _boxes(image: LabelledImage, *, only_scored: bool) -> tuple[Box, ...]:
    persons = (person for person in image.persons if not person.is_crowd)
    return tuple(
        person.box_xyxy_px.astype(np.float32)
        for person in persons
        if (person.is_scored or not only_scored) and (person.box_xyxy_px[2:] > person.box_xyxy_px[:2]).all()
    )


def _read_image(path: Path, boxes: tuple[Box, ...] | None) -> DataImage | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        # An eighth of the size is enough to know that it decodes, and how bright it is.
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) if data else None
    except cv2.error:
        return None
    if grey is None:
        return None
    return DataImage(path, sha256_of_bytes(data), float(grey.mean()), boxes)


def _nothing_usable(images_dir: Path, unreadable: int, other_files: int) -> ConfigError:
    if unreadable or other_files:
        found = f"{unreadable} unreadable pictures and {other_files} files that are no pictures"
    else:
        found = "nothing"
    return ConfigError(
        f"{images_dir} holds no usable image, found {found}.",
        "Put JPEG or PNG pictures of the place where the device will work into it.",
    )
