"""A pinhole camera, and what makes its light a photograph: blur, shake, exposure, vignette, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.skeleton import Matrix, Vector
from edgepose.host.synthetic.style import Exposure
from edgepose.host.synthetic.surfaces import Plane


@dataclass(frozen=True)
class Camera:
    """Where a camera stands and looks.

    The world: x right, y up, z backwards (right-handed), metres, ground at y = 0. The camera's own space:
    x right, y down, z forward. Pixel centres have whole coordinates, and the optical axis meets the middle
    of the image.

    Attributes:
        size_wh: In pixels.
        position: (3,), metres.
        yaw_degrees: To the right; 0 looks along -z.
        pitch_degrees: Downwards.
        roll_degrees: Clockwise as the photographer sees it; the image turns the other way.
    """

    size_wh: tuple[int, int]
    focal_px: float
    position: Vector
    yaw_degrees: float = 0.0
    pitch_degrees: float = 0.0
    roll_degrees: float = 0.0

    @cached_property
    def turn(self) -> Matrix:
        """(3, 3), world directions to the camera's: right, down and forward in rows."""
        yaw, pitch, roll = np.radians([self.yaw_degrees, self.pitch_degrees, self.roll_degrees])
        forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
        right = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
        down = np.cross(forward, right)
        return np.stack(
            [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward]
        )

    @property
    def centre_px(self) -> tuple[float, float]:
        """Where the optical axis meets the image."""
        return (self.size_wh[0] - 1) / 2, (self.size_wh[1] - 1) / 2

    def to_camera(self, points: Vector) -> Vector:
        """World points (..., 3) in the camera's space."""
        return (points - self.position) @ self.turn.T

    def project(self, points: Vector) -> Vector:
        """World points (..., 3) in front of the camera as image pixels (..., 2)."""
        seen = self.to_camera(points)
        return self.focal_px * seen[..., :2] / seen[..., 2:] + self.centre_px


def photograph(scene: Plane, exposure: Exposure, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image, uint8 (H, W, 3), RGB, of a scene's light, float32 (H, W, 3), RGB, about 0 to 255."""
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


def _shake(exposure: Exposure) -> Plane:
    size = exposure.motion_px | 1
    kernel = np.zeros((size, size), np.float32)
    half = (size - 1) / 2
    angle = np.radians(exposure.motion_degrees)
    for step in np.linspace(-half, half, 4 * size):
        kernel[round(half + step * np.sin(angle)), round(half + step * np.cos(angle))] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _vignette(shape: tuple[int, ...], strength: float) -> Plane:
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in shape[:2])
    return np.asarray(1 - strength * (rows[:, None] + columns[None]) / 2, np.float32)[..., None]
