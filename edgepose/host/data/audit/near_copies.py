"""Finds nearly the same image in one folder or two: rescaled, recompressed, brightened, slightly cropped.

Two stages. Perceptual hashes within ``MAX_HASH_DISTANCE`` make a pair of candidates, which is fast over
millions of pairs but takes unlike images for alike now and then. A candidate counts when the fine details
of both thumbnails correlate once they are aligned: by the best shift and scale (a crop of up to a fifth of
each side), then to fractions of a pixel by ECC (Evangelidis and Psarakis 2008, as in OpenCV). Details are
what a Gaussian blur takes away: without it two images with a bright sky correlate up to 0.79.

Measured: 240 different COCO images (28,680 pairs) stay under 0.4. Copies cropped by 5 %, halved, brightened
and saved as JPEG of quality 30 are all above 0.91. Between lie images of one scene (0.61 to 0.8 for other
moments of one camera; 33 pairs among 12.5 million of 4,999 sports images, one of them by chance).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.audit.image_facts import ImageFacts, hash_distances, measure_image
from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.records.data_audit import Leak
from edgepose.runtime.image_file import list_image_files
from edgepose.trust.digests import sha256_of_file

MAX_HASH_DISTANCE = 16
SCENE_CORRELATION = 0.6
COPY_CORRELATION = 0.9
# Saving again and rescaling leave more than this. So does a small person who moved before a still one,
# but where that person was the images differ: by 0.77 of the contrast or more, copies by 0.51 at most.
_SAME_CORRELATION = 0.97
_SAME_DIFFERENCE = 0.6
# Frames of one camera are all alike; the closest few of each join them all and keep the work linear.
_MOST_CANDIDATES = 8
_BLUR_SIGMA_PX = 4.0
_MARGIN_PX = 3
_ECC_STEPS = 30
_SHOWN = 5
_SCALES = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)


@dataclass(frozen=True)
class NearPair:
    """Two images, by their indices, that show nearly the same.

    Attributes:
        correlation: Of the aligned details.
        hash_distance: Of the perceptual hashes.
        same_picture: Whether they are one image, saved again in another size or quality at most.
    """

    first: int
    second: int
    correlation: float
    hash_distance: int
    same_picture: bool


def pairs_between(mine: Sequence[ImageFacts], others: Sequence[ImageFacts]) -> Iterator[NearPair]:
    """Every image of ``mine`` that is nearly one of ``others``.

    Flat images are left out; each image is held against the eight others with the closest hashes.
    """
    codes = np.array([other.code for other in others], np.uint64)
    for index, image in enumerate(mine):
        yield from _verified(index, image, others, codes, 0)


def pairs_within(images: Sequence[ImageFacts]) -> Iterator[NearPair]:
    """Pairs of nearly equal images, ``first < second``, enough to join every group.

    Flat images are left out; each image is held against the eight later ones with the closest hashes.
    """
    codes = np.array([image.code for image in images], np.uint64)
    for index, image in enumerate(images):
        yield from _verified(index, image, images, codes, index + 1)


def _verified(
    index: int, image: ImageFacts, others: Sequence[ImageFacts], codes: NDArray[np.uint64], first: int
) -> Iterator[NearPair]:
    """The pairs of an image with those of ``others`` from ``first`` on."""
    if image.is_flat or first >= len(others):
        return
    distances = hash_distances(image.code, codes[first:])
    close = np.flatnonzero(distances <= MAX_HASH_DISTANCE)
    for place in close[np.argsort(distances[close], kind="stable")][:_MOST_CANDIDATES].tolist():
        other = others[first + place]
        if other.is_flat:
            continue
        same = image.sha256 == other.sha256
        correlation = 1.0 if same else detail_correlation(image.thumbnail, other.thumbnail)
        if correlation >= SCENE_CORRELATION:
            alike = correlation >= _SAME_CORRELATION and (
                same or _largest_difference(image.thumbnail, other.thumbnail) <= _SAME_DIFFERENCE
            )
            yield NearPair(index, first + place, correlation, int(distances[place]), alike)


def grouped(count: int, pairs: Sequence[NearPair]) -> list[list[int]]:
    """Joins pairs of ``count`` images.

    Returns:
        Indices, one list per group, singles included, each sorted, in the order of their first image.
    """
    leader = list(range(count))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for pair in pairs:
        first, second = sorted((find(pair.first), find(pair.second)))
        leader[second] = first
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def detail_correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Best correlation of the details of two thumbnails over shifts and scales.

    Returns:
        -1 to 1; 1 for the same image. The search ends where the same image is certain.
    """
    details = (_details(first), _details(second))
    coarse = max(
        (match for inner, outer in (details, details[::-1]) for match in _matches(inner, outer)),
        key=lambda match: match[0],
    )
    if not SCENE_CORRELATION <= coarse[0] < _SAME_CORRELATION:
        return min(coarse[0], 1.0)
    return max(coarse[0], _refined(*coarse[1:]))


_Match = tuple[float, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _matches(inner: NDArray[np.float32], outer: NDArray[np.float32]) -> Iterator[_Match]:
    """Correlation, both images and the (2, 3) map from inner to outer pixels, for every scale."""
    cut = np.ascontiguousarray(inner[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX])
    for wanted in _SCALES:
        side = round(len(cut) * wanted)
        template = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
        _, best, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(outer, template, cv2.TM_CCOEFF_NORMED))
        scale = side / len(cut)
        shift = (scale - 1) / 2
        warp = np.array([[scale, 0, x + shift], [0, scale, y + shift]], np.float32)
        yield best, cut, outer, warp
        if best >= _SAME_CORRELATION:
            return


def _refined(cut: NDArray[np.float32], outer: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """The correlation after aligning to fractions of a pixel; -1 where that does not converge."""
    end = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_STEPS, 1e-4)
    try:
        # Every pixel counts; the stubs know no call without a mask.
        mask = np.full(outer.shape, 255, np.uint8)
        correlation, _ = cv2.findTransformECC(cut, outer, warp, cv2.MOTION_AFFINE, end, mask, 1)
    except cv2.error:
        # OpenCV's only way to say that the two cannot be aligned.
        return -1.0
    return float(min(correlation, 1.0))


def _details(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = thumbnail.astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), _BLUR_SIGMA_PX), np.float32)


def _largest_difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Largest difference of 3 x 3 pixels after the best gain and offset, over the contrast."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    gain, offset = np.polyfit(b.ravel(), a.ravel(), 1)
    difference = np.abs(a - (gain * b + offset))
    return float(cv2.blur(difference, (3, 3)).max() / max(a.std(), 1.0))


def measure_folder(folder: DataFolder) -> list[ImageFacts]:
    """Measures every usable image of a folder.

    Raises:
        ConfigError: An image vanished or cannot be decoded at full size.
    """
    return [measure_image(image.path, image.sha256) for image in folder.images]


def leaks_between(mine: Sequence[ImageFacts], others: Sequence[ImageFacts]) -> tuple[Leak, ...]:
    """The images of ``mine`` that are in ``others``: same bytes, near copies, same scenes.

    Each image is named once, with its closest counterpart.
    """
    by_digest = {other.sha256: other for other in others}
    best: dict[int, Leak] = {}
    for index, image in enumerate(mine):
        same = by_digest.get(image.sha256)
        if same is not None:
            best[index] = _leak(image, same, 1.0, 0)
    for pair in pairs_between(mine, others):
        if pair.first not in best or best[pair.first].correlation < pair.correlation:
            found = (mine[pair.first], others[pair.second])
            best[pair.first] = _leak(*found, pair.correlation, pair.hash_distance)
    return tuple(best[index] for index in sorted(best))


def _leak(mine: ImageFacts, other: ImageFacts, correlation: float, distance: int) -> Leak:
    kind: Literal["same_bytes", "near_copy", "same_scene"] = "same_scene"
    if mine.sha256 == other.sha256:
        kind = "same_bytes"
    elif correlation >= COPY_CORRELATION:
        kind = "near_copy"
    return Leak(
        file=mine.path.name,
        other=other.path.name,
        kind=kind,
        correlation=round(correlation, 4),
        hash_distance=distance,
    )


def refuse_leak(calibration: Path, evaluation_images: Path) -> None:
    """Refuses to evaluate on images that set the ranges.

    Only the same image counts here, as it is or saved again in another size or quality: two frames of one
    still camera are alike and yet different.

    Args:
        calibration: Data folder that sets the ranges.
        evaluation_images: The labelled images that accuracy is measured on.

    Raises:
        ConfigError: They share an image; the message names some. Or a folder cannot be used.
    """
    mine = measure_folder(open_data_folder(calibration))
    others = [measure_image(path, sha256_of_file(path)) for path in list_image_files(evaluation_images)]
    name_of = {other.sha256: other.path.name for other in others}
    shared = {image.path.name: name_of[image.sha256] for image in mine if image.sha256 in name_of}
    for pair in pairs_between(mine, others):
        if pair.same_picture:
            shared.setdefault(mine[pair.first].path.name, others[pair.second].path.name)
    if not shared:
        return
    names = [name if name == other else f"{name} = {other}" for name, other in sorted(shared.items())]
    named = "; ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise ConfigError(
        f"{len(names)} of {len(mine)} calibration pictures in {calibration} are evaluation pictures in "
        f"{evaluation_images} too, so the accuracy would be no measurement: {named}.",
        "Take them out of one of the folders; `edgepose data audit CALIBRATION --against IMAGES` lists all.",
    )
