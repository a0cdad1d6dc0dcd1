"""A short code that stays nearly the same when a picture is resaved, rescaled or brightened.

The DCT hash ("pHash") of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
(2010), section 3.2.1: the lowest 8 x 8 frequencies of the 32 x 32 grey picture, one bit each for above the
median. The constant term is left out, so that brightness alone changes nothing: 63 bits.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_BITS = 63
_DCT_SIDE_PX = 32
_FREQUENCIES = 8
_BITS_OF_UINT16 = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


def perceptual_hash(grey: NDArray[np.uint8]) -> np.uint64:
    """Hashes a picture.

    Args:
        grey: uint8 (H, W).

    Returns:
        63 bits; compare with ``hash_distances``.
    """
    small = cv2.resize(grey, (_DCT_SIDE_PX, _DCT_SIDE_PX), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = spectrum > np.median(spectrum)
    return np.uint64(int("".join("1" if bit else "0" for bit in bits), 2))


def hash_distances(code: np.uint64, others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Hamming distances of one hash to (N,) others, 0 to 63."""
    # numpy 1 has no bitwise_count; four table look-ups do the same on both.
    halves = np.bitwise_xor(np.ascontiguousarray(others), code).view(np.uint16).reshape(-1, 4)
    return _BITS_OF_UINT16[halves].sum(axis=1, dtype=np.int64)
