"""All pictures, small, in one mapped file: an epoch reads no JPEG."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.distill.detector.design import PAD_VALUE
from edgepose.host.distill.detector.pictures import TeachingPictures
from edgepose.host.distill.sample_cache import reserved
from edgepose.host.distill.students import StudentDesign
from edgepose.inference.image_file import read_image_rgb
from edgepose.pose.transform import ImageTransform, letterbox_transform
from edgepose.spec.whole_file import write_whole
from edgepose.trust.digests import sha256_of_list

Progress = Callable[[int, int], None]
_LAYOUT = "detector-1"
# Somewhat more pixels than the student sees, for views that look closer.
_LARGER = 4 / 3


@dataclass(frozen=True, eq=False)
class PictureCache:
    """N pictures.

    Attributes:
        pictures: (N, H, W, 3) uint8 RGB, letterboxed.
        to_cache: (N, 4): scale x, y and offset x, y from image pixels to cached pixels.
        sizes_wh: (N, 2), of the pictures themselves.
    """

    pictures: NDArray[np.uint8]
    to_cache: NDArray[np.float64]
    sizes_wh: NDArray[np.int64]


def open_pictures(
    folder: Path, data: TeachingPictures, design: StudentDesign, progress: Progress | None = None
) -> PictureCache:
    """Opens the cache of these pictures and this input size; fills it on first use.

    Raises:
        ConfigError: A picture is not readable, or the disk is full.
    """
    paths = [f"{picture.path}" for picture in data.pictures]
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
    # Crops of people: nobody else looks into it.
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = len(data.pictures)
    size_wh = round(design.input_wh[0] * _LARGER), round(design.input_wh[1] * _LARGER)
    pictures = reserved(home / "pictures.npy", (count, size_wh[1], size_wh[0], 3))
    to_cache, sizes = np.zeros((count, 4)), np.zeros((count, 2), np.int64)
    for index, picture in enumerate(data.pictures):
        image = read_image_rgb(picture.path)
        sizes[index] = image.shape[1], image.shape[0]
        transform = letterbox_transform((image.shape[1], image.shape[0]), size_wh, centred=True)
        pictures[index] = _small(image, transform)
        to_cache[index] = (*transform.scale_xy, *transform.offset_xy)
        if progress is not None:
            progress(index + 1, count)
    pictures.flush()
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
