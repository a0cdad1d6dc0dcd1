"""A user's folder of images, with or without labels, and its manifest.

``DIR/images/`` with an optional ``DIR/person_keypoints.json`` (COCO), or a bare folder of images. What
cannot be used is counted and reported; only a folder with nothing usable is an error.

The manifest holds digests, licences, sources and consent. A licence comes from the folder's own
``manifest.json`` where the digest still fits, else from the ``licenses`` and ``license`` fields of the COCO
labels; else it is ``unknown``, and the audit says so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, LabelledImage, read_coco
from edgepose.records.data_audit import DatasetManifest, ManifestFile
from edgepose.records.files import write_whole
from edgepose.records.quantization import DataFolderCounts
from edgepose.records.record import read_json, to_json
from edgepose.runtime.image_file import list_image_files
from edgepose.trust.digests import sha256_of_bytes, sha256_of_list

ANNOTATIONS_FILE_NAME, _MANIFEST_FILE_NAME = "person_keypoints.json", "manifest.json"
# A licence or a source that is stated nowhere.
UNKNOWN = "unknown"

Box = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DataImage:
    """An image that can be decoded.

    Attributes:
        brightness: Mean grey value, 0 to 255.
        person_boxes_xyxy_px: The labelled persons' boxes, each float32 (4,); None where the image has
            no label, empty where the labels say that there is no person.
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
        images: The usable ones, sorted by name.
        unreadable: Files that look like images by their name and cannot be decoded.
        other_files: Number of files that are neither images nor the labels.
        labels_without_image: Labels whose image is missing.
        images_without_label: Usable images that no label mentions.
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
        """sha256 over the sorted digests of the usable images."""
        return sha256_of_list(sorted(image.sha256 for image in self.images))

    @property
    def exact_duplicates(self) -> int:
        """Number of images beyond the first of each content."""
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
    """Looks at every file of a data folder; each image is decoded once.

    Args:
        folder: ``DIR`` with ``images/`` and an optional ``person_keypoints.json``, or a bare folder of
            images (which may have the labels beside them).

    Raises:
        ConfigError: The folder is missing, the labels are damaged, or no image can be used.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is not a folder; expected one with images.",
            "Give a folder of images, or one with images/ and person_keypoints.json in it.",
        )
    images_dir = folder / "images" if (folder / "images").is_dir() else folder
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
        found = "nothing"
        if unreadable or other_files:
            found = f"{len(unreadable)} unreadable pictures and {other_files} files that are no pictures"
        raise ConfigError(
            f"{images_dir} holds no usable image, found {found}.",
            "Put JPEG or PNG pictures of the place where the device will work into it.",
        )
    return DataFolder(
        path=folder,
        images=tuple(readable),
        unreadable=tuple(unreadable),
        other_files=other_files,
        has_labels=labels is not None,
        labels_without_image=0 if labels is None else labels.labels_without_image,
        images_without_label=sum(image.person_boxes_xyxy_px is None for image in readable),
    )


def _boxes_by_path(labels: CocoDataset) -> dict[Path, tuple[Box, ...]]:
    """The boxes of persons with labelled keypoints; of all persons where none has keypoints."""
    only_scored = labels.scored_persons > 0
    return {image.path.resolve(): _boxes(image, only_scored=only_scored) for image in labels.images}


def _boxes(image: LabelledImage, *, only_scored: bool) -> tuple[Box, ...]:
    return tuple(
        person.box_xyxy_px.astype(np.float32)
        for person in image.persons
        if not person.is_crowd
        and (person.is_scored or not only_scored)
        and (person.box_xyxy_px[2:] > person.box_xyxy_px[:2]).all()
    )


def _read_image(path: Path, boxes: tuple[Box, ...] | None) -> DataImage | None:
    try:
        data = path.read_bytes()
        # An eighth of the size is enough to know that it decodes, and how bright it is.
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) if data else None
    except (OSError, cv2.error):
        return None
    if grey is None:
        return None
    return DataImage(path, sha256_of_bytes(data), float(grey.mean()), boxes)


class _CocoLicence(msgspec.Struct):
    id: int
    name: str = ""
    url: str = ""


class _CocoImage(msgspec.Struct):
    file_name: str
    license: int | None = None
    flickr_url: str | None = None
    coco_url: str | None = None


class _CocoLicences(msgspec.Struct):
    images: list[_CocoImage] = []
    licenses: list[_CocoLicence] | None = None


def make_manifest(folder: DataFolder) -> DatasetManifest:
    """Lists the usable images of a folder, sorted by name.

    Raises:
        ConfigError: The folder's own manifest or the licence fields of its labels are damaged.
    """
    own = folder.path / _MANIFEST_FILE_NAME
    known = {file.file: file for file in read_json(own, DatasetManifest).files} if own.is_file() else {}
    labels = _stated_by_labels(folder.path)
    files = []
    for image in folder.images:
        name = image.path.relative_to(folder.path).as_posix()
        entry = known.get(name)
        if entry is None or entry.sha256 != image.sha256:
            stated = labels.get(image.path.name) or ManifestFile(file=name, sha256="")
            entry = msgspec.structs.replace(stated, file=name, sha256=image.sha256)
        files.append(entry)
    return DatasetManifest(files=tuple(files))


def licences_of(manifest: DatasetManifest) -> dict[str, int]:
    """Licence to number of images, sorted by name."""
    return dict(sorted(Counter(file.licence for file in manifest.files).items()))


def write_folder_manifest(folder: Path, target: Path) -> None:
    """Writes the ``edgepose.dataset/1`` manifest of a data folder.

    Raises:
        ConfigError: The folder cannot be used, or the file cannot be written.
    """
    manifest = make_manifest(open_data_folder(folder))
    write_whole(target, [to_json(manifest, indent=1).encode(errors="backslashreplace")])


def _stated_by_labels(folder: Path) -> dict[str, ManifestFile]:
    """Image name to licence and source, digests left empty."""
    path = folder / ANNOTATIONS_FILE_NAME
    if not path.is_file():
        return {}
    try:
        labels = msgspec.json.decode(path.read_bytes(), type=_CocoLicences)
    except (msgspec.ValidationError, OSError) as problem:
        raise ConfigError(f"The licence fields of {path} cannot be read: {problem}.") from problem
    names = {entry.id: entry.name or entry.url or UNKNOWN for entry in labels.licenses or ()}
    return {
        image.file_name: ManifestFile(
            file=image.file_name,
            sha256="",
            licence=names.get(image.license, UNKNOWN) if image.license is not None else UNKNOWN,
            source=image.flickr_url or image.coco_url or UNKNOWN,
        )
        for image in labels.images
    }
