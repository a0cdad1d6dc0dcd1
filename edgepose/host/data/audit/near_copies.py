"""What can be told from one image alone, and nearly the same images in one folder or two.

Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000). It depends on the size of the image,
so it is measured at one scale: the longer side is brought to 320 pixels first.

Copies may be rescaled, recompressed, brightened, slightly cropped. They are found in two stages:

1. The DCT hash ("pHash") of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
   (2010), section 3.2.1: the lowest 8 x 8 frequencies of the 32 x 32 grey image, one bit each for above the
   median. The constant term is left out, so that brightness alone changes nothing: 63 bits. Hashes within
   ``MAX_HASH_DISTANCE`` make a pair of candidates, which is fast over millions of pairs but takes unlike
   images for alike now and then.
2. A candidate counts when the fine details of both thumbnails correlate once they are aligned: by the best
   shift and scale (a crop of up to a fifth of each side), then to fractions of a pixel by ECC (Evangelidis
   and Psarakis 2008, as in OpenCV). Details are what a Gaussian blur takes away: without it two images with
   a bright sky correlate up to 0.79.

Measured: 240 different COCO images (28,680 pairs) stay under 0.4. Copies cropped by 5 %, halved, brightened
and saved as JPEG of quality 30 are all above 0.91. Between lie images of one scene (0.61 to 0.8 for other
moments of one camera; 33 pairs among 12.5 million of 4,999 sports images, one of them by chance).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.runtime.image_file import read_image_rgb

HASH_BITS = 63
SHARPNESS_SIDE_PX = 320
_THUMBNAIL_SIDE_PX = 64
# Under two grey levels of deviation there is only the noise of a sensor or of JPEG.
_FLAT_CONTRAST = 2.0
_DCT_SIDE_PX = 32
_FREQUENCIES = 8
_BITS_OF_UINT16 = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)
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
_SCALES = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)


def perceptual_hash(grey: NDArray[np.uint8]) -> np.uint64:
    """63 bits; compare with ``hash_distances``."""
    small = cv2.resize(grey, (_DCT_SIDE_PX, _DCT_SIDE_PX), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = spectrum > np.median(spectrum)
    return np.uint64(int("".join("1" if bit else "0" for bit in bits), 2))


def hash_distances(code: np.uint64, others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Hamming distances of one hash to (N,) others, 0 to 63."""
    # numpy 1 has no bitwise_count; four table look-ups do the same on both.
    halves = np.bitwise_xor(np.ascontiguousarray(others), code).view(np.uint16).reshape(-1, 4)
    return _BITS_OF_UINT16[halves].sum(axis=1, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """An image in figures.

    Attributes:
        width_px: As a viewer shows it (EXIF applied); so is the height.
        brightness: Mean grey value, 0 to 255.
        contrast: Standard deviation of the grey values.
        sharpness: Variance of the Laplacian at ``SHARPNESS_SIDE_PX``.
        code: Perceptual hash.
        thumbnail: uint8 (64, 64), grey, stretched to a square.
    """

    path: Path
    sha256: str
    width_px: int
    height_px: int
    brightness: float
    contrast: float
    sharpness: float
    code: np.uint64
    thumbnail: NDArray[np.uint8]

    @property
    def is_flat(self) -> bool:
        """Whether it shows nothing: black, white, or one colour."""
        return self.contrast < _FLAT_CONTRAST


def measure_image(path: Path, sha256: str) -> ImageFacts:
    """Reads and measures an image.

    Raises:
        ConfigError: The file is missing or is no image.
    """
    grey = np.asarray(cv2.cvtColor(read_image_rgb(path), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    side = (_THUMBNAIL_SIDE_PX, _THUMBNAIL_SIDE_PX)
    scale = SHARPNESS_SIDE_PX / max(grey.shape)
    size_wh = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    resized = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return ImageFacts(
        path=path,
        sha256=sha256,
        width_px=grey.shape[1],
        height_px=grey.shape[0],
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        sharpness=float(cv2.Laplacian(resized, cv2.CV_64F).var()),
        code=perceptual_hash(grey),
        thumbnail=np.asarray(cv2.resize(grey, side, interpolation=cv2.INTER_AREA), dtype=np.uint8),
    )


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
