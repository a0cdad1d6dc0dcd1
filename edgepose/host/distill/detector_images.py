"""The detector students, the images that teach them, and where persons are in those: labels and a teacher.

All images lie small in one mapped file, so that an epoch reads no JPEG. The network is the pose students',
with maps at stride 8 and five channels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import read_coco
from edgepose.host.distill.persons import ImageSource
from edgepose.host.distill.sample_cache import reserved
from edgepose.host.distill.students import INPUT_OFFSET, StudentDesign
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.transform import ImageTransform, letterbox_transform
from edgepose.records.files import write_whole
from edgepose.records.model_spec import CenterCodecSpec, InputSpec, ModelSpec
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.pipeline import PersonDetector
from edgepose.trust.digests import sha256_of_file, sha256_of_list

Progress = Callable[[int, int], None]
Boxes = NDArray[np.float64]

# Below, the teacher is unsure; what it sees is neither person nor background to the student.
CONFIDENT_SCORE = 0.5
_SAME_PERSON_IOU = 0.4
# A label's box that lies so far inside the teacher's was drawn around keypoints, not around the person.
_INSIDE = 0.85
_MUCH_SMALLER = 0.8


@dataclass(frozen=True, eq=False)
class TeachingPicture:
    """One image.

    Attributes:
        boxes_px: (N, 4) xyxy, persons.
        unsure_px: (M, 4), groups and what the teacher was unsure of: teach nothing.
        source: Index of the folder that it is from.
    """

    path: Path
    boxes_px: Boxes
    unsure_px: Boxes
    source: int


@dataclass(frozen=True, eq=False)
class TeachingPictures:
    """All of them.

    Attributes:
        pictures: In the order of the folders.
        digest: sha256 over images and boxes.
    """

    pictures: tuple[TeachingPicture, ...]
    digest: str

    @property
    def persons(self) -> int:
        """Number of boxes."""
        return sum(len(image.boxes_px) for image in self.pictures)


def collect_pictures(
    sources: Sequence[ImageSource], teacher: PersonDetector | None, progress: Progress | None = None
) -> TeachingPictures:
    """Reads labels and asks the teacher.

    Args:
        sources: Folders of images; one where no one is found teaches what no person looks like.
        teacher: A detector; None learns from labels alone, and folders without labels are refused.
        progress: Called with (images done, images in all).

    Raises:
        ConfigError: A folder is empty or missing, labels are damaged, an image cannot be read, there is
            neither label nor teacher, or no one is there.
        ModelError: The teacher failed.
    """
    listed = [entry for index, source in enumerate(sources) for entry in _listed(source, index, teacher)]
    images = []
    for done, (path, labels, crowd, source) in enumerate(listed, 1):
        images.append(_joined(path, labels, crowd, source, teacher))
        if progress is not None:
            progress(done, len(listed))
    if not any(len(image.boxes_px) for image in images):
        raise ConfigError(
            f"Nobody is in the {len(images)} pictures.", "A detector learns from pictures with persons."
        )
    return TeachingPictures(tuple(images), sha256_of_list(_line(image) for image in images))


def _listed(
    source: ImageSource, index: int, teacher: PersonDetector | None
) -> list[tuple[Path, Boxes, Boxes, int]]:
    if source.labels is None:
        files = list_image_files(source.images_dir)
        if not files:
            raise ConfigError(
                f"There is no image in {source.images_dir}.", "Give the folder of the pictures."
            )
        if teacher is None:
            raise ConfigError(f"{source.folder} has no labels and there is no teacher.", "Give --teacher.")
        return [(path, _none(), _none(), index) for path in files]
    images = read_coco(source.labels, source.images_dir).images
    return [
        (
            image.path,
            _boxes([p.box_xyxy_px for p in image.persons if not p.is_crowd]),
            _boxes([p.box_xyxy_px for p in image.persons if p.is_crowd]),
            index,
        )
        for image in images
    ]


def _joined(
    path: Path, labels: Boxes, crowd: Boxes, source: int, teacher: PersonDetector | None
) -> TeachingPicture:
    if teacher is None:
        return TeachingPicture(path, labels, crowd, source)
    boxes, scores = teacher.detect(read_image_rgb(path))
    found: Boxes = np.asarray(boxes, np.float64)
    overlap = iou_matrix(labels, found)
    # Who stands in a group was labelled as the group.
    free = (overlap.max(axis=0, initial=0) < _SAME_PERSON_IOU) & ~_covered(found, crowd)
    joined = np.stack(
        [_better(box, found, row) for box, row in zip(labels, overlap, strict=True)] or [_none()]
    )
    persons = np.concatenate([joined.reshape(-1, 4), found[free & (scores >= CONFIDENT_SCORE)]])
    unsure = np.concatenate([crowd, found[free & (scores < CONFIDENT_SCORE)]])
    return TeachingPicture(path, persons, unsure, source)


def _better(label: Boxes, found: Boxes, overlap: NDArray[np.floating]) -> Boxes:
    """The label's box, or the teacher's where that one holds it and is clearly larger."""
    if not len(found) or overlap.max() < _SAME_PERSON_IOU:
        return label
    other = found[int(overlap.argmax())]
    share = _intersection(label, other[None])[0] / max(_area(label[None])[0], 1e-9)
    return other if share > _INSIDE and overlap.max() < _MUCH_SMALLER else label


def _covered(boxes: Boxes, groups: Boxes) -> NDArray[np.bool_]:
    inside = np.array([_intersection(group, boxes) for group in groups]).reshape(len(groups), len(boxes))
    return np.asarray(inside.max(axis=0, initial=0) > 0.5 * _area(boxes))


def _intersection(box: Boxes, others: Boxes) -> Boxes:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1))


def _area(boxes: Boxes) -> Boxes:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _boxes(boxes: list[Boxes]) -> Boxes:
    return np.array(boxes, np.float64).reshape(-1, 4)


def _none() -> Boxes:
    return np.zeros((0, 4))


def _line(image: TeachingPicture) -> str:
    numbers = [*image.boxes_px.ravel(), *(-image.unsure_px.ravel())]
    return f"{sha256_of_file(image.path)} {' '.join(f'{n:.2f}' for n in numbers)} {image.source}"


# The grey that YOLOX pads with; a padded border then looks the same to teacher and student.
PAD_VALUE = 114

DETECTORS: dict[str, StudentDesign] = {
    design.name: design
    for design in (StudentDesign("edgepose-d", (192, 192), 12, (16, 32, 48, 80), (0, 0, 1, 2), (48, 40)),)
}


def detector_spec(design: StudentDesign, licence: str, source: str) -> ModelSpec:
    """How the exported detector is run."""
    return ModelSpec(
        name=design.name,
        version="1",
        paradigm="detector",
        licence=licence,
        source=source,
        input=InputSpec(
            width_px=design.input_wh[0],
            height_px=design.input_wh[1],
            layout="NHWC",
            color_order="RGB",
            resize="letterbox",
            pad_value=PAD_VALUE,
            mean=(INPUT_OFFSET,) * 3,
            std=(INPUT_OFFSET,) * 3,
        ),
        codec=CenterCodecSpec(),
    )


_LAYOUT = "detector-1"
# Somewhat more pixels than the student sees, for views that look closer.
_LARGER = 4 / 3


@dataclass(frozen=True, eq=False)
class PictureCache:
    """N images.

    Attributes:
        pictures: (N, H, W, 3) uint8 RGB, letterboxed.
        to_cache: (N, 4): scale x, y and offset x, y from image pixels to cached pixels.
        sizes_wh: (N, 2), of the images themselves.
    """

    pictures: NDArray[np.uint8]
    to_cache: NDArray[np.float64]
    sizes_wh: NDArray[np.int64]


def open_pictures(
    folder: Path, data: TeachingPictures, design: StudentDesign, progress: Progress | None = None
) -> PictureCache:
    """Opens the cache of these images and this input size; fills it on first use.

    Raises:
        ConfigError: An image is not readable, or the disk is full.
    """
    paths = [f"{image.path}" for image in data.pictures]
    home = folder / sha256_of_list([_LAYOUT, data.digest, f"{design.input_wh}", *paths])[:16]
    if not (home / "complete").is_file():
        try:
            _fill(home, data, design, progress)
        except OSError as problem:
            shutil.rmtree(home, ignore_errors=True)
            raise ConfigError(
                f"Cannot write the picture cache {home}: {problem.strerror}.",
                "It takes about 0.2 MB a picture; give --cache another folder.",
            ) from problem
    with np.load(home / "pictures.npz", allow_pickle=False) as stored:
        to_cache, sizes = stored["to_cache"], stored["sizes_wh"]
    return PictureCache(np.load(home / "pictures.npy", mmap_mode="r"), to_cache, sizes)


def _fill(home: Path, data: TeachingPictures, design: StudentDesign, progress: Progress | None) -> None:
    # Crops of people: no one else looks into it.
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = len(data.pictures)
    size_wh = round(design.input_wh[0] * _LARGER), round(design.input_wh[1] * _LARGER)
    images = reserved(home / "pictures.npy", (count, size_wh[1], size_wh[0], 3))
    to_cache, sizes = np.zeros((count, 4)), np.zeros((count, 2), np.int64)
    for index, picture in enumerate(data.pictures):
        image = read_image_rgb(picture.path)
        sizes[index] = image.shape[1], image.shape[0]
        transform = letterbox_transform((image.shape[1], image.shape[0]), size_wh, centred=True)
        images[index] = _small(image, transform)
        to_cache[index] = (*transform.scale_xy, *transform.offset_xy)
        if progress is not None:
            progress(index + 1, count)
    images.flush()
    with (home / "pictures.npz").open("wb") as stream:
        np.savez(stream, to_cache=to_cache, sizes_wh=sizes)
    write_whole(home / "complete", [msgspec.json.encode({"pictures": count, "digest": data.digest})])


def _small(image: NDArray[np.uint8], transform: ImageTransform) -> NDArray[np.uint8]:
    """Resized as the shipping preprocess does it."""
    flat = (PAD_VALUE,) * 3
    moved = cv2.warpAffine(
        image, transform.sampling_matrix, transform.input_wh, flags=cv2.INTER_LINEAR, borderValue=flat
    )
    return np.asarray(moved)
