"""Draws the crops that set the ranges, and keeps a part aside that never does.

The split is by image and by content: images are ordered by ``sha256(seed:file digest)``, so it depends
neither on file names nor on the order of a folder, copies of one image count once and never stand on
both sides. The first fifth (at most ``MAX_HELD_OUT``) is held out to compare the float and the quantized
model; the rest calibrates. Crops that calibration has no use for choose between repairs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.data_folder import Box, DataFolder, DataImage
from edgepose.records.lineage import CalibrationRecord
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.preprocess import Image, Preprocessor
from edgepose.trust.digests import sha256_of_bytes, sha256_of_list

MAX_HELD_OUT = 32
MAX_SELECTION = 96
# Fewer cannot tell one candidate from another; the held-out crops choose then.
_FEWEST_SELECTION = 8
_HELD_OUT_SHARE = 5


class FindsPersons(Protocol):
    """What a person detector does (:class:`edgepose.runtime.pipeline.PersonDetector`)."""

    def detect(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (N, 4) xyxy in image pixels and scores (N,), best first."""
        ...


@dataclass(frozen=True, eq=False)
class CropSample:
    """One person in one image: a box float32 (4,), or None for the whole image."""

    image_path: Path
    image_sha256: str
    box_xyxy_px: Box | None


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """The drawn crops.

    Attributes:
        samples: Crops that set the ranges.
        held_out: Crops of other images, never used to calibrate.
        boxes_from: ``labels``, ``detector`` or ``whole_image``.
        selection: Crops that neither calibrate nor are held out, to choose between candidates; the
            held-out ones where the folder has no more.
    """

    samples: tuple[CropSample, ...]
    held_out: tuple[CropSample, ...]
    boxes_from: str
    selection: tuple[CropSample, ...] = ()

    @property
    def record(self) -> CalibrationRecord:
        """What the model's lineage says about the calibration."""
        digests = sorted({sample.image_sha256 for sample in self.samples})
        return CalibrationRecord(
            digest=sha256_of_list(digests),
            images=len(digests),
            crops=len(self.samples),
            boxes_from=self.boxes_from,
        )

    @property
    def distinct_images(self) -> int:
        """Number of images with a crop, on both sides of the split."""
        return len({sample.image_sha256 for sample in (*self.samples, *self.held_out)})


def calibration_crops(
    folder: DataFolder,
    count: int,
    seed: int,
    detector: FindsPersons | None = None,
    *,
    whole_images: bool = False,
) -> CalibrationSet:
    """Draws crops from a data folder.

    Every image gives one crop before any image gives a second one.

    Raises:
        ConfigError: Fewer than two different images, or labels or detector give no person.
    """
    boxes_of, boxes_from = _box_source(folder, detector, whole_images=whole_images)
    candidates = [image for image in folder.images if boxes_from != "labels" or image.person_boxes_xyxy_px]
    held_out, calibrating = split_images(candidates, seed)
    drawn = _draw(calibrating, count + MAX_SELECTION, seed, boxes_of)
    samples, spare = drawn[:count], drawn[count:]
    kept = _draw(held_out, MAX_HELD_OUT, seed, boxes_of)
    if not samples or not kept:
        raise ConfigError(
            f"{folder.path} gives {len(samples)} crops to calibrate with and {len(kept)} to check with "
            f"(boxes from {boxes_from}); both are needed.",
            "Add pictures with persons, labels (person_keypoints.json), or another --detector.",
        )
    return CalibrationSet(samples, kept, boxes_from, spare if len(spare) >= _FEWEST_SELECTION else kept)


def split_images(
    images: Iterable[DataImage], seed: int
) -> tuple[tuple[DataImage, ...], tuple[DataImage, ...]]:
    """Splits images by content into those held out and those that calibrate; a single one calibrates."""
    by_digest: dict[str, DataImage] = {}
    for image in images:
        by_digest.setdefault(image.sha256, image)
    ordered = sorted(by_digest.values(), key=lambda image: sha256_of_bytes(f"{seed}:{image.sha256}".encode()))
    held_out = min(len(ordered) // _HELD_OUT_SHARE, MAX_HELD_OUT) or int(len(ordered) > 1)
    return tuple(ordered[:held_out]), tuple(ordered[held_out:])


BoxesOf = Callable[[DataImage], Sequence[Box | None]]


def _box_source(
    folder: DataFolder, detector: FindsPersons | None, *, whole_images: bool
) -> tuple[BoxesOf, str]:
    if not whole_images and any(image.person_boxes_xyxy_px for image in folder.images):
        return (lambda image: image.person_boxes_xyxy_px or ()), "labels"
    if not whole_images and detector is not None:
        return (lambda image: tuple(detector.detect(read_image_rgb(image.path))[0])), "detector"
    return (lambda _image: (None,)), "whole_image"


def _draw(images: Sequence[DataImage], count: int, seed: int, boxes_of: BoxesOf) -> tuple[CropSample, ...]:
    """The first crop of every image, then the second of every one, until there are enough."""
    crops: list[CropSample] = []
    waiting = deque(_shuffled_crops(image, boxes_of, seed) for image in images)
    while waiting and len(crops) < count:
        of_image = waiting.popleft()
        crop = next(of_image, None)
        if crop is not None:
            crops.append(crop)
            waiting.append(of_image)
    return tuple(crops)


def _shuffled_crops(image: DataImage, boxes_of: BoxesOf, seed: int) -> Iterator[CropSample]:
    boxes = boxes_of(image)
    order = np.random.default_rng([seed, int(image.sha256[:8], 16)]).permutation(len(boxes))
    for index in order:
        yield CropSample(image.path, image.sha256, boxes[index])


class RepresentativeInputs:
    """Input tensors of crops, made one at a time and as often as asked.

    Raises:
        ModelError: Spec and tensor disagree.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo, samples: Sequence[CropSample]) -> None:
        self._preprocessor = Preprocessor(spec, tensor)
        self._tensor = tensor
        self._samples = tuple(samples)

    @property
    def tensor_name(self) -> str:
        """Name of the model's input tensor."""
        return self._tensor.name

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yields fresh arrays in the tensor's shape and type.

        Raises:
            ConfigError: An image has vanished since the folder was opened.
        """
        for sample in self._samples:
            image = read_image_rgb(sample.image_path)
            values = np.zeros(self._tensor.shape, self._tensor.dtype)
            transform = self._preprocessor.transform_for(image, sample.box_xyxy_px)
            self._preprocessor.write(image, transform, values)
            yield values

    def first(self, count: int) -> list[NDArray[Any]]:
        """The first ``count`` tensors, or fewer."""
        return list(islice(self, count))
