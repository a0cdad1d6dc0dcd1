"""Pictures of coloured patches, for models that are made for something else than human figures."""

from __future__ import annotations

import cv2
import numpy as np

from edgepose.inference.preprocess import Image

_PATCHES = 40


def draw_patches(seed: int, size_wh: tuple[int, int]) -> Image:
    """Draws soft ellipses of strong colours on a dark ground; the same arguments give the same bytes.

    Args:
        seed: Chooses positions, sizes and colours.
        size_wh: Picture width and height in pixels.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    rng = np.random.default_rng(seed)
    width, height = size_wh
    canvas = np.full((height, width, 3), 24, np.uint8)
    for _ in range(_PATCHES):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(5, 20)), int(rng.integers(5, 20)))
        color = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, color, cv2.FILLED, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(canvas, (5, 5), 0), dtype=np.uint8)
