"""What can be told from one image alone, and a short code that outlives saving, rescaling and brightening.

Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000). It depends on the size of the image,
so it is measured at one scale: the longer side is brought to 320 pixels first.

The code is the DCT hash ("pHash") of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010), section 3.2.1: the lowest 8 x 8 frequencies of the 32 x 32 grey image, one bit each for
above the median. The constant term is left out, so that brightness alone changes nothing: 63 bits.
"""

from __future__ import annotations

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
