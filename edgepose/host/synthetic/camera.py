"""A pinhole camera: where points of the world fall in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgepose.host.synthetic.joints import Matrix, Vector


@dataclass(frozen=True)
class Camera:
    """Where a camera stands and looks.

    The world: x right, y up, z backwards (right-handed), metres, ground at y = 0. The camera's own space:
    x right, y down, z forward. Pixel centres have whole coordinates, and the optical axis meets the middle
    of the picture.

    Attributes:
        size_wh: Picture width and height in pixels.
        focal_px: Focal length.
        position: (3,), metres.
        yaw_degrees: To the right; 0 looks along -z.
        pitch_degrees: Downwards.
        roll_degrees: Clockwise as the photographer sees it; the picture turns the other way.
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
        """Where the optical axis meets the picture."""
        return (self.size_wh[0] - 1) / 2, (self.size_wh[1] - 1) / 2

    def to_camera(self, points: Vector) -> Vector:
        """World points (..., 3) in the camera's space."""
        return (points - self.position) @ self.turn.T

    def project(self, points: Vector) -> Vector:
        """World points (..., 3) in front of the camera as picture pixels (..., 2)."""
        seen = self.to_camera(points)
        return self.focal_px * seen[..., :2] / seen[..., 2:] + self.centre_px
