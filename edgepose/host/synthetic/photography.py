"""From light to a photograph: lens blur, shake, exposure, vignette, noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.style import Exposure

Picture = NDArray[np.float32]


def photograph(scene: Picture, exposure: Exposure, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Takes the picture.

    Args:
        scene: float32 (H, W, 3), RGB, about 0 to 255.
        exposure: The camera's part.
        rng: Source of the noise.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    image = scene
    if exposure.blur_px > 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), exposure.blur_px), np.float32)
    if exposure.motion_px > 1:
        image = np.asarray(cv2.filter2D(image, -1, _shake(exposure)), np.float32)
    image = (image - 118) * exposure.contrast + 118
    image = image * np.asarray(exposure.gain, np.float32)
    image *= _vignette(image.shape[:2], exposure.vignette)
    image += exposure.noise_levels * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _shake(exposure: Exposure) -> NDArray[np.float32]:
    size = exposure.motion_px | 1
    kernel = np.zeros((size, size), np.float32)
    half = (size - 1) / 2
    angle = np.radians(exposure.motion_degrees)
    for step in np.linspace(-half, half, 4 * size):
        kernel[round(half + step * np.sin(angle)), round(half + step * np.cos(angle))] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _vignette(shape: tuple[int, ...], strength: float) -> Picture:
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in shape[:2])
    return np.asarray(1 - strength * (rows[:, None] + columns[None]) / 2, np.float32)[..., None]
